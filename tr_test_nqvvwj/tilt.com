$/opt/imod/bin/tilt -TILTF a.tlt -std -EXC 1,5-7
input a.ali
output a.rec
SHIFT -3.5 -.5
THICKNESS 48

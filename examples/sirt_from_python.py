"""SIRT from Python: python3 sirt_from_python.py SERIES TILTS THICKNESS [PICTURE.png]
Writes SERIES' tomogram as sirt.mrc and shows a slice (needs the package tiltrec, mrcfile, and
for the picture matplotlib)."""
import sys

import mrcfile
import numpy as np
import tiltrec

data = mrcfile.read(sys.argv[1]).astype(np.float32)
volume = tiltrec.reconstruct(data, np.loadtxt(sys.argv[2]), thickness=int(sys.argv[3]),
                             algorithm="SIRT", iterations=30)
mrcfile.write("sirt.mrc", volume, overwrite=True)
middle = volume[len(volume) // 2]
print(f"{volume.shape}, middle slice: mean {middle.mean():.4g}, deviation {middle.std():.4g}")
if len(sys.argv) > 4:
    import matplotlib.pyplot
    matplotlib.pyplot.imsave(sys.argv[4], middle, cmap="gray", origin="lower")

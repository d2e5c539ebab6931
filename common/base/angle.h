/* Angles are in degrees at the border, in files and options, and in radians inside. */
#ifndef TR_ANGLE_H
#define TR_ANGLE_H

#define TR_PI 3.14159265358979323846
#define TR_RADIANS (TR_PI / 180.0) /* times degrees */
#define TR_DEGREES (180.0 / TR_PI) /* times radians */

#endif

/* Angles are in degrees at the border: in options, in what files say (tr_view is that, as
 * it stands there), and in what a run says. tr_geometry_init turns them into radians,
 * once, and from there on they are radians. */
#ifndef TR_ANGLE_H
#define TR_ANGLE_H

#define TR_PI 3.14159265358979323846
#define TR_RADIANS (TR_PI / 180.0) /* times degrees */
#define TR_DEGREES (180.0 / TR_PI) /* times radians */

#endif

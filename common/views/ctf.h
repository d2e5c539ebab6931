/* The contrast transfer function of a view,
 *   CTF(f) = sin chi,  chi = pi lambda df f^2 - pi/2 Cs lambda^3 f^4 + phase + asin A,
 *   df = mean of both defoci + half their difference cos 2 (angle of f - axis)
 * (Rohou & Grigorieff 2015), above 0 at low frequencies where the defocus is, as in IMOD:
 * a correction with it keeps the contrast. Lengths in angstroms. */
#ifndef TR_CTF_H
#define TR_CTF_H

#include "formats/alignment.h"

/* Of electrons of so many kilovolts, angstroms, with relativity: h / sqrt(2 m e V (1 + e
 * V / 2 m c^2)). */
double tr_electron_wavelength(double kilovolts);

/* chi / pi as a polynomial of the two components of f. */
typedef struct tr_ctf_phase {
    double mean;        /* times f^2 */
    double cross, plus; /* times fx^2 - fy^2, and 2 fx fy */
    double quartic;     /* times f^4 */
    double constant;
} tr_ctf_phase;

/* Of a view whose CTF is known. For a depth of its own add that to both defoci. */
tr_ctf_phase tr_ctf_phase_of(const tr_ctf *ctf, const tr_optics *optics);

/* chi / pi at a frequency in 1/angstrom: whole at the zeros. */
static inline double tr_ctf_half_turns(const tr_ctf_phase *p, double fx, double fy)
{
    double f2 = fx * fx + fy * fy;
    return p->mean * f2 + p->cross * (fx * fx - fy * fy) + p->plus * (2.0 * fx * fy) +
           p->quartic * f2 * f2 + p->constant;
}

double tr_ctf_value(const tr_ctf_phase *phase, double fx, double fy);

/* How far, in angstroms, it spreads a point in an image that goes up to the frequency f,
 * 1/angstrom: lambda f |df|, with the larger defocus. */
double tr_ctf_reach(const tr_ctf *ctf, const tr_optics *optics, double f);

#endif

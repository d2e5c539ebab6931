#include "common/views/ctf.h"

#include "common/base/angle.h"

double tr_electron_wavelength(double kilovolts)
{
    double volts = 1e3 * kilovolts;
    return 12.26425966 / sqrt(volts * (1.0 + 0.9784755918e-6 * volts)); /* CODATA 2018 */
}

tr_ctf_phase tr_ctf_phase_of(const tr_ctf *ctf, const tr_optics *optics)
{
    const double per_mm = 1e7; /* angstroms */
    double lambda = tr_electron_wavelength(optics->voltage);
    double half = 0.5 * (ctf->defocus_1 - ctf->defocus_2);
    double twice = 2.0 * ctf->axis * TR_RADIANS;
    return (tr_ctf_phase){
        .mean = lambda * 0.5 * (ctf->defocus_1 + ctf->defocus_2),
        .cross = lambda * half * cos(twice),
        .plus = lambda * half * sin(twice),
        .quartic = -0.5 * optics->cs * per_mm * lambda * lambda * lambda,
        .constant = ctf->phase / 180.0 + asin(optics->amplitude) / TR_PI};
}

double tr_ctf_value(const tr_ctf_phase *phase, double fx, double fy)
{
    return sin(TR_PI * tr_ctf_half_turns(phase, fx, fy));
}

double tr_ctf_reach(const tr_ctf *ctf, const tr_optics *optics, double f)
{
    double defocus = fmax(fabs(ctf->defocus_1), fabs(ctf->defocus_2));
    return tr_electron_wavelength(optics->voltage) * f * defocus;
}

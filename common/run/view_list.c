#include "common/run/view_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/angle.h"
#include "common/base/file_name.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "formats/file_io.h"

bool tr_view_list_wanted(const tr_options *o)
{
    return o->purpose.choice == TR_FOR_AVERAGING && !o->try_what;
}

char *tr_view_list_path(const char *output)
{
    size_t stem = tr_name_stem(output);
    return tr_format_string("%.*s_views.star", (int)stem, output);
}

static const char *word(const tr_view_params *v)
{
    static const char *const words[] = {[TR_CTF_FLIP] = "phases flipped",
                                        [TR_CTF_MULTIPLY] = "multiplied by CTF",
                                        [TR_CTF_WIENER] = "Wiener filter"};
    return v->ctf ? words[v->ctf_mode] : "CTF not corrected";
}

static void put_general(FILE *out, const tr_reconstruction *r)
{
    const tr_view_params *v = &r->command->options.views;
    fprintf(out, "# The views of %s: %s, %s by their exposure\n\ndata_general\n\n",
            tr_name_only(tr_output_name(&r->job.output_spec)), word(v),
            v->dose ? "weighted" : "not weighted");
    if (r->inputs->pixel > 0.0)
        fprintf(out, "_rlnTomoTiltSeriesPixelSize %.9g\n", r->inputs->pixel);
    if (v->ctf)
        fprintf(out,
                "_rlnVoltage %.9g\n_rlnSphericalAberration %.9g\n"
                "_rlnAmplitudeContrast %.9g\n_rlnTomoHand %g\n",
                v->voltage, v->cs, v->amplitude, -v->hand); /* depth along z, not s */
    fprintf(out, "_tiltrecSeries %s\n", tr_name_only(r->series_path));
}

static void put_views(FILE *out, const tr_reconstruction *r)
{
    static const char *const of_all[] = {"tiltrecSection", "rlnTomoYTilt"},
                             *const of_ctf[] = {"rlnDefocusU", "rlnDefocusV",
                                                "rlnDefocusAngle", "rlnPhaseShift"},
                             *const of_dose[] = {"rlnMicrographPreExposure",
                                                 "tiltrecExposure"};
    bool ctf = r->command->options.views.ctf, dose = r->command->options.dose;
    int column = 0;
    fprintf(out, "\ndata_views\n\nloop_\n");
    for (int k = 0; k < 2; k++)
        fprintf(out, "_%s #%d\n", of_all[k], ++column);
    for (int k = 0; k < 4 && ctf; k++)
        fprintf(out, "_%s #%d\n", of_ctf[k], ++column);
    for (int k = 0; k < 2 && dose; k++)
        fprintf(out, "_%s #%d\n", of_dose[k], ++column);
    for (size_t k = 0; k < r->views.n; k++) {
        const tr_view *view = &r->views.view[k];
        fprintf(out, "%zu %.9g", view->section + 1, r->job.geometry.tilt[k] * TR_DEGREES);
        if (ctf)
            fprintf(out, " %.9g %.9g %.9g %.9g", view->ctf.defocus_1, view->ctf.defocus_2,
                    view->ctf.axis, view->ctf.phase);
        if (dose)
            fprintf(out, " %.9g %.9g", view->prior_exposure, view->exposure);
        fputc('\n', out);
    }
}

tr_status tr_view_list_write(const tr_reconstruction *r)
{
    char *text = NULL, *path = tr_view_list_path(tr_output_name(&r->job.output_spec));
    size_t size = 0;
    FILE *out = path ? open_memstream(&text, &size) : NULL;
    bool complete = false;
    if (out) {
        put_general(out, r);
        put_views(out, r);
        complete = !ferror(out);
        complete = fclose(out) == 0 && complete;
    }
    tr_status status =
        complete ? tr_write_whole(path, text, size)
                 : tr_fail(TR_ERR_MEMORY, "not enough memory for the list of views");
    if (status == TR_OK)
        tr_info("wrote %s: the views, for a program that weights them itself", path);
    free(text);
    free(path);
    return status;
}

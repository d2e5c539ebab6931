/* What --for sets: each line of the table is an option that some uses of a tomogram want
 * to have another value than its default, where the user has not given it. */
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/run/dose_sources.h"
#include "common/run/inputs.h"
#include "common/views/series_name.h"
#include "formats/ctf_file.h"

static const char *const names[] = {[TR_FOR_VIEWING] = "viewing",
                                    [TR_FOR_DENOISING] = "denoising",
                                    [TR_FOR_AVERAGING] = "averaging"};

enum {
    VIEWING = 1 << TR_FOR_VIEWING,
    DENOISING = 1 << TR_FOR_DENOISING,
    AVERAGING = 1 << TR_FOR_AVERAGING
};

/* *value NULL: it is not set; then *why_not, or NULL where that need not be said. */
typedef tr_status find_value(tr_inputs *in, tr_command *c, const char **value,
                             const char **why_not);

/* ---- the CTF ---- */

/* One of the endings behind one of the series' stems, or *found NULL. */
static tr_status find_beside(const char *series, char **found)
{
    static const char *const endings[] = {".defocus", "_CTF.txt",  "_ctf.txt",
                                          ".xml",     "_ctf.star", ".star"};
    size_t stems[TR_STEMS];
    tr_series_stems(series, stems);
    for (size_t e = 0; e < sizeof endings / sizeof *endings; e++)
        for (size_t s = 0; s < TR_STEMS; s++) {
            char *path = tr_format_string("%.*s%s", (int)stems[s], series, endings[e]);
            if (!path)
                return TR_ERR_MEMORY;
            if (tr_is_file(path) && tr_ctf_knows(path)) {
                *found = path;
                return TR_OK;
            }
            free(path);
        }
    return TR_OK;
}

static tr_status find_ctf(tr_inputs *in, tr_command *c, const char **value,
                          const char **why_not)
{
    const char *const said[] = {in->tilts_path, in->transforms_path};
    *why_not = NULL;
    if (tr_image_get_info(in->image)->ctf_corrected && !c->options.ctf_again)
        *why_not = "the series is corrected already, as its header says";
    else if (!(in->pixel > 0.0))
        *why_not = "nothing tells the size of a pixel; give --pixel";
    if (*why_not)
        return TR_OK;
    for (size_t k = 0; k < sizeof said / sizeof *said && !in->purpose.ctf; k++)
        if (said[k] && tr_ctf_knows(said[k]) && !(in->purpose.ctf = tr_strdup(said[k])))
            return TR_ERR_MEMORY;
    if (!in->purpose.ctf)
        TR_TRY(find_beside(in->series_path, &in->purpose.ctf));
    *value = in->purpose.ctf;
    *why_not = "no file with the CTF of the views is beside the series; give --ctf FILE";
    return TR_OK;
}

/* Where the filter would be refused, the default stays. */
static tr_status find_wiener(tr_inputs *in, tr_command *c, const char **value,
                             const char **why_not)
{
    (void)in;
    *why_not = NULL;
    if (c->options.ctf)
        *value = tr_algorithm_option(c->algorithm, c->params, TR_LAMBDA_TIMES) ? "flip"
                                                                               : "wiener";
    return TR_OK;
}

static tr_status find_flip(tr_inputs *in, tr_command *c, const char **value,
                           const char **why_not)
{
    (void)in;
    *why_not = NULL;
    *value = c->options.ctf ? "flip" : NULL;
    return TR_OK;
}

/* ---- exposures ---- */

static tr_status find_dose(tr_inputs *in, tr_command *c, const char **value,
                           const char **why_not)
{
    bool placeholder = in->pixel == 1.0 && !(c->options.pixel > 0.0);
    bool weights = c->options.purpose.choice != TR_FOR_AVERAGING;
    if (weights && (!(in->pixel > 0.0) || placeholder)) {
        *why_not = "nothing tells the size of a pixel; give --pixel";
        return TR_OK;
    }
    *why_not = "no mdoc or STAR file with exposures is beside the series; give --dose";
    *value = tr_dose_sources_beside(in) ? "mdoc" : NULL;
    if (*value)
        c->options.views.dose = weights; /* else for the list of views alone */
    return TR_OK;
}

/* ---- half sets ---- */

/* ts_EVN.mrc and ts_EVN_ali.mrc, of ts_ali.mrc as well. */
static tr_status find_frames(const char *series, char *halves[2])
{
    static const char *const pairs[][2] = {
        {"_EVN", "_ODD"}, {"_EVEN", "_ODD"}, {"_even", "_odd"}};
    size_t stems[TR_STEMS];
    tr_series_stems(series, stems);
    for (size_t p = 0; p < sizeof pairs / sizeof *pairs; p++)
        for (size_t s = 0; s < TR_STEMS; s++) {
            for (int k = 0; k < 2; k++)
                if (!(halves[k] = tr_format_string("%.*s%s%s", (int)stems[s], series,
                                                   pairs[p][k], series + stems[s])))
                    return TR_ERR_MEMORY;
            if (tr_is_file(halves[0]) && tr_is_file(halves[1]))
                return TR_OK;
            for (int k = 0; k < 2; k++) {
                free(halves[k]);
                halves[k] = NULL;
            }
        }
    return TR_OK;
}

static tr_status find_halves(tr_inputs *in, tr_command *c, const char **value,
                             const char **why_not)
{
    tr_purpose *p = &in->purpose;
    *why_not = c->options.try_what ? "--try makes no tomogram"
                                   : "both halves would begin with --initial";
    if (c->options.try_what || c->options.initial)
        return TR_OK;
    TR_TRY(find_frames(in->series_path, p->halves));
    *value = p->halves[1] ? "frames" : "views";
    c->options.half_sets.argument[0] = p->halves[0];
    c->options.half_sets.argument[1] = p->halves[1];
    return TR_OK;
}

/* ---- the table ---- */

static const struct setting {
    unsigned of; /* these uses */
    const char *option, *value;
    find_value *find; /* where the value depends on the files; NULL: it does not */
} settings[] = {
    {VIEWING | DENOISING | AVERAGING, "ctf", NULL, find_ctf},
    {VIEWING, "ctf-mode", NULL, find_wiener},
    {DENOISING | AVERAGING, "ctf-mode", NULL, find_flip},
    {VIEWING | DENOISING | AVERAGING, "dose", NULL, find_dose},
    {VIEWING, "lambda-times", "2", NULL}, /* of ADMM on views that are flipped */
    {DENOISING, "half-sets", NULL, find_halves},
    {DENOISING | AVERAGING, "algorithm", "WBP", NULL},
    {DENOISING | AVERAGING, "radial", "0.5,0", NULL}, /* no low pass */
};

/* "A, B" of NULL and A, and B in printf's way. */
static tr_status append(char **list, const char *option, const char *separator,
                        const char *what)
{
    char *longer = tr_format_string("%s%s--%s%s%s", *list ? *list : "", *list ? ", " : "",
                                    option, separator, what);
    free(*list);
    *list = longer;
    return longer ? TR_OK : TR_ERR_MEMORY;
}

static tr_status apply(const struct setting *s, tr_inputs *in, tr_command *c)
{
    const char *value = s->value, *why_not = NULL;
    if (!tr_option_known(&c->line, s->option))
        return TR_OK;
    if (tr_option_given(&c->line, s->option))
        return append(&in->purpose.kept, s->option, "", "");
    if (s->find)
        TR_TRY(s->find(in, c, &value, &why_not));
    if (!value)
        return why_not ? append(&in->purpose.missed, s->option, ", as ", why_not) : TR_OK;
    TR_TRY(tr_option_preset(&c->line, s->option, value));
    return append(&in->purpose.set, s->option, " ", value);
}

tr_status tr_inputs_take_purpose(tr_inputs *in, tr_command *c)
{
    int use = c->options.purpose.choice;
    tr_purpose *p = &in->purpose;
    if (!use)
        return TR_OK;
    p->name = names[use];
    for (size_t k = 0; k < sizeof settings / sizeof *settings; k++)
        if (settings[k].of & 1U << use)
            TR_TRY(apply(&settings[k], in, c));
    if (p->set)
        tr_info("for %s: %s", p->name, p->set);
    if (p->kept)
        tr_info("for %s, but as given: %s", p->name, p->kept);
    if (p->missed)
        tr_warn("not set for %s: %s", p->name, p->missed);
    return TR_OK;
}

void tr_purpose_free(tr_purpose *p)
{
    free(p->set);
    free(p->kept);
    free(p->missed);
    free(p->ctf);
    free(p->halves[0]);
    free(p->halves[1]);
    *p = (tr_purpose){.name = NULL};
}

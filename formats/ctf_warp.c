/* Warp's XML of a tilt series. Read are
 *   <TiltSeries AreAnglesInverted=...>; <Angles>, a line a tilt;
 *   <GridCTF>, GridCTFDefocusDelta (both micrometres), GridCTFDefocusAngle (degrees) and
 *     GridCTFPhase (in units of pi), each a list of <Node X= Y= Z= Value=> with Z the
 *     tilt; one node is for all tilts. Defoci are defocus +- half the delta;
 *   <Param Name="Voltage" (kV), "Cs" (mm), "Amplitude" Value=>, inside <CTF>.
 * Nothing but tags with their attributes is looked at: no entities, no CDATA. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "formats/ctf_file.h"
#include "formats/warp_xml.h"

enum { DEFOCUS, DELTA, ANGLE, PHASE, N_GRIDS };
static const char *const grid_names[N_GRIDS] = {"GridCTF", "GridCTFDefocusDelta",
                                                "GridCTFDefocusAngle", "GridCTFPhase"};
enum { MOST_TILTS = TR_WARP_MOST_TILTS };

typedef struct grid {
    size_t n; /* the highest Z, and 1 */
    double value[MOST_TILTS];
    bool there[MOST_TILTS];
} grid;

typedef struct warp_file {
    grid grids[N_GRIDS];
    size_t n_tilts; /* that <Angles> has */
    double tilt[MOST_TILTS];
} warp_file;

bool tr_ctf_warp_probe(const char *path) { return tr_warp_probe(path); }

/* ---- what is in them ---- */

static tr_status read_node(const tr_text *text, const tr_xml_tag *t, grid *g)
{
    double x, y, z, value;
    TR_TRY(tr_xml_number(text, t, "X", &x));
    TR_TRY(tr_xml_number(text, t, "Y", &y));
    TR_TRY(tr_xml_number(text, t, "Z", &z));
    TR_TRY(tr_xml_number(text, t, "Value", &value));
    if (x != 0.0 || y != 0.0)
        return tr_fail(
            TR_ERR_DATA,
            "%s, line %zu: it has several values for a view, at %g, %g; one is "
            "needed",
            text->path, text->line, x, y);
    if (z < 0.0 || z >= (double)MOST_TILTS || z != floor(z))
        return tr_fail(TR_ERR_DATA, "%s, line %zu: Z=\"%g\" is not the number of a tilt",
                       text->path, text->line, z);
    size_t tilt = (size_t)z;
    g->value[tilt] = value;
    g->there[tilt] = true;
    g->n = tilt + 1 > g->n ? tilt + 1 : g->n;
    return TR_OK;
}

static tr_status read_optics(const tr_text *text, const tr_xml_tag *t, tr_optics *o)
{
    static const char *const names[] = {"Voltage", "Cs", "Amplitude"};
    double *const values[] = {&o->voltage, &o->cs, &o->amplitude};
    char name[32];
    if (!tr_xml_attribute(t, "Name", name, sizeof name))
        return TR_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return tr_xml_number(text, t, "Value", values[i]);
    return TR_OK;
}

static tr_status scan(tr_text *text, warp_file *w, tr_ctf_table *table)
{
    const char *at = text->next;
    grid *inside = NULL;
    bool ctf = false;
    char word[16];
    tr_xml_tag t;
    for (text->line = 1; tr_xml_next(&at, &text->line, &t);) {
        bool opens = !t.closing && !t.empty;
        for (size_t i = 0; i < N_GRIDS; i++)
            if (tr_xml_is(&t, grid_names[i]))
                inside = opens ? &w->grids[i] : NULL;
        if (tr_xml_is(&t, "CTF"))
            ctf = opens;
        else if (tr_xml_is(&t, "TiltSeries") && !t.closing)
            table->inverted =
                tr_xml_attribute(&t, "AreAnglesInverted", word, sizeof word) &&
                strcasecmp(word, "true") == 0;
        else if (tr_xml_is(&t, "Angles") && opens)
            TR_TRY(tr_xml_numbers(text, at + 1, MOST_TILTS, w->tilt, &w->n_tilts));
        else if (tr_xml_is(&t, "Node") && inside && !t.closing)
            TR_TRY(read_node(text, &t, inside));
        else if (tr_xml_is(&t, "Param") && ctf && !t.closing)
            TR_TRY(read_optics(text, &t, &table->optics));
    }
    if (strchr(at, '<'))
        return tr_fail(TR_ERR_DATA, "%s, line %zu: a tag that does not end", text->path,
                       text->line);
    return TR_OK;
}

/* Of tilt k; one node is for all. False: there is none. */
static bool value_at(const grid *g, size_t k, double *value)
{
    size_t at = g->n == 1 ? 0 : k;
    if (at >= g->n || !g->there[at])
        return false;
    *value = g->value[at];
    return true;
}

/* ---- which of the tilts a view is ---- */

/* Whether the tilts are those of the views in their order, with this sign. */
static bool in_order(const warp_file *w, const tr_ctf_series *series, double sign)
{
    for (size_t k = 0; k < series->nz; k++)
        if (fabs(sign * w->tilt[k] - series->tilt[k]) > 2.0) /* NaN is no contradiction */
            return false;
    return true;
}

/* The tilt nearest to that of view k. */
static size_t nearest(const warp_file *w, double tilt, double sign)
{
    size_t best = 0;
    for (size_t k = 1; k < w->n_tilts; k++)
        if (fabs(sign * w->tilt[k] - tilt) < fabs(sign * w->tilt[best] - tilt))
            best = k;
    return best;
}

/* Whether each view has a tilt of its own, nearer than 1 degree. */
static bool each_has_one(const warp_file *w, const tr_ctf_series *series, double sign)
{
    bool taken[MOST_TILTS] = {false};
    for (size_t k = 0; k < series->nz; k++) {
        size_t one = nearest(w, series->tilt[k], sign);
        if (taken[one] || !(fabs(sign * w->tilt[one] - series->tilt[k]) < 1.0))
            return false;
        taken[one] = true;
    }
    return true;
}

/* Whether a view would get another defocus with the other sign. */
static bool signs_differ(const warp_file *w, const tr_ctf_series *series)
{
    for (size_t k = 0; k < series->nz; k++)
        if (nearest(w, series->tilt[k], 1.0) != nearest(w, series->tilt[k], -1.0))
            return true;
    return false;
}

/* Of tilts in another order than the views. */
static tr_status match_by_angle(const char *path, const warp_file *w,
                                const tr_ctf_series *series, double *sign)
{
    bool plus = each_has_one(w, series, 1.0), minus = each_has_one(w, series, -1.0);
    *sign = plus ? 1.0 : -1.0;
    if (!plus && !minus)
        return tr_fail(
            TR_ERR_DATA,
            "%s has %zu tilts (the first %g degrees), and they are not those of "
            "the %zu views of %s (the first %g)",
            path, w->n_tilts, w->tilt[0], series->nz, series->path, series->tilt[0]);
    if (plus && minus && signs_differ(w, series))
        return tr_fail(TR_ERR_DATA,
                       "%s has its tilts in another order than the views of %s, and they "
                       "fit with either sign; give the CTF in the order of the views",
                       path, series->path);
    tr_info(
        "%s: its tilts are in another order than the views, and found by their angles%s",
        path, *sign < 0.0 ? ", which have the other sign" : "");
    return TR_OK;
}

/* sign 0: in order. */
static tr_status match(const char *path, const warp_file *w, const tr_ctf_series *series,
                       double *sign)
{
    size_t n = w->n_tilts ? w->n_tilts : w->grids[DEFOCUS].n;
    *sign = 0.0;
    if (!w->n_tilts)
        return n == 1 ? TR_OK : tr_ctf_check_count(path, n, series);
    if (n == series->nz && in_order(w, series, 1.0))
        return TR_OK;
    if (n != series->nz || !in_order(w, series, -1.0))
        return match_by_angle(path, w, series, sign);
    tr_info("%s: its tilts are those of the views in their order, with the other sign",
            path);
    return TR_OK;
}

static tr_status take(const char *path, const warp_file *w, const tr_ctf_series *series,
                      tr_ctf_table *table)
{
    double sign;
    if (!w->grids[DEFOCUS].n)
        return tr_fail(TR_ERR_DATA,
                       "%s has no defocus of its tilts (<GridCTF> with <Node ... "
                       "Value=...>); let Warp fit the CTF of the tilt series",
                       path);
    TR_TRY(match(path, w, series, &sign));
    for (size_t k = 0; k < series->nz; k++) {
        size_t tilt = sign != 0.0 ? nearest(w, series->tilt[k], sign) : k;
        double value[N_GRIDS] = {0.0};
        if (!value_at(&w->grids[DEFOCUS], tilt, &value[DEFOCUS]))
            continue; /* of a view that is not used, perhaps */
        for (size_t i = 1; i < N_GRIDS; i++)
            (void)value_at(&w->grids[i], tilt, &value[i]);
        table->given[k] = true;
        table->view[k] =
            (tr_ctf){.defocus_1 = 1e4 * (value[DEFOCUS] + 0.5 * value[DELTA]),
                     .defocus_2 = 1e4 * (value[DEFOCUS] - 0.5 * value[DELTA]),
                     .axis = value[ANGLE],
                     .phase = 180.0 * value[PHASE]};
    }
    return TR_OK;
}

tr_status tr_ctf_warp_read(const char *path, const tr_ctf_series *series,
                           tr_ctf_table *table)
{
    tr_text text;
    TR_TRY(tr_text_read(path, &text));
    warp_file *w = tr_calloc("a file of Warp", 1, sizeof *w);
    tr_status status = w ? scan(&text, w, table) : TR_ERR_MEMORY;
    if (status == TR_OK)
        status = take(path, w, series, table);
    free(w);
    tr_text_free(&text);
    return status;
}

/* What the name of a series says, and the names that go with it. */
#ifndef TR_SERIES_NAME_H
#define TR_SERIES_NAME_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the name says that the views are aligned, as the programs that align them write
 * it: TS_ali.mrc, TS.ali, TS_aln.mrc, TS_aligned.mrc, TS_tiltaligned.mrc, TS_preali.mrc,
 * also with what was done after that, TS_ali_bin4.mrc. */
bool tr_is_aligned_name(const char *series);
/* Whether such a one is made from an aligned series or on the way to it. */
bool tr_is_derived_name(const char *series);

/* Under how many characters of `series` files beside it may go, the folder included: its
 * whole name, without the extension, without what says that it is aligned. */
enum { TR_STEMS = 3 };
void tr_series_stems(const char *series, size_t lengths[TR_STEMS]);

/* The default output beside the series' name, in the current folder: STEM_rec and the
 * extension (".mrc"), with a trailing _ali or the like dropped from STEM. malloc; NULL
 * when memory is short. */
char *tr_default_output(const char *series, const char *extension);

#endif

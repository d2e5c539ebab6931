/* --check-alignment: how well the views agree with the alignment, said as a table and in
 * sentences, and written as a CSV. */
#ifndef TR_CHECK_ALIGNMENT_H
#define TR_CHECK_ALIGNMENT_H

#include "common/alignment/alignment_check.h"

struct tr_run;
struct tr_options;

typedef struct tr_alignment_verdict {
    tr_alignment_check check; /* lengths in working pixels */
    bool done;
    size_t factor; /* working pixels are so many of the file's */
} tr_alignment_verdict;

/* Sentences about it, `say(data, sentence, bad)` for each; view numbers as in the file,
 * from 1; lengths in the file's pixels. */
typedef void tr_say_finding(void *data, const char *sentence, bool bad);
/* Whether it is, beyond its error. */
bool tr_alignment_axis_is_off(const tr_alignment_check *check);
/* Where the CSV goes; NULL: nowhere. */
const char *tr_check_alignment_file(const struct tr_options *o);

void tr_alignment_findings(const struct tr_run *run, tr_say_finding *say, void *data);

#endif

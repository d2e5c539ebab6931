/* Everything that a run found out, for its report and its machine-readable result. Kept
 * by the first process; the others take part in adding up. */
#ifndef TR_RESULT_H
#define TR_RESULT_H

#include "common/report/json.h"
#include "common/run/run.h"

/* A view and how well the tomogram explains it; NAN for what is not known. */
typedef struct tr_view_result {
    size_t number;      /* in the file, from 1 */
    double tilt;        /* degrees, offset included */
    double residual;    /* |b - A x| / |b| of the view in the last iteration */
    double correlation; /* with its reprojection (agreement.h) */
    bool bad;           /* by either, much worse than its neighbours (outliers.h) */
} tr_view_result;

/* A line of what was printed, in order. */
typedef struct tr_result_line {
    bool warning;
    char *text;
} tr_result_line;

typedef struct tr_input_file {
    const char *role, *path; /* "series" ... */
    unsigned long long bytes;
    char sha256[65]; /* "" until known */
} tr_input_file;

enum { TR_MOST_INPUTS = 20 };

typedef struct tr_result {
    const tr_run *run; /* command, inputs, jobs */
    int argc;
    char *const *argv; /* as typed */
    double start;      /* tr_now when the program began */
    double checking, running, updates;
    bool complete; /* the tomogram has its name */
    tr_statistics statistics;
    char scaling[128];
    tr_view_result *views;
    size_t n_views, n_bad;
    struct {
        double scale, residual;
    } explained;     /* --residual-of (residual_of.h) */
    bool residuals;  /* of the views, are known; and their correlations, */
    size_t compared; /* of so many image rows: 0 if not */
    tr_result_line *lines;
    size_t n_lines, lines_lost;
    tr_input_file inputs[TR_MOST_INPUTS];
    size_t n_inputs;
    struct tr_checksums *checksums; /* while they are computed */
} tr_result;

/* Begin: from here on what is printed is kept. Ended by tr_result_free. */
void tr_result_begin(tr_result *r, const tr_run *run, int argc, char *const *argv);
void tr_result_free(tr_result *r);

/* Says what --report and --json take of memory, after the run's own plan. */
void tr_result_plan(const tr_result *r, const tr_job *job);

/* Before the run, when --report or --json asks for it: asks for the residual of each
 * view, begins with the checksums of the inputs, which are computed meanwhile, and
 * removes what an earlier run wrote under the names. Collective. */
TR_CHECKED tr_status tr_result_prepare(tr_result *r, tr_job *job);

/* The residuals of the views, added up over the processes; part of gathering, collective.
 */
TR_CHECKED tr_status tr_result_gather(tr_result *r, tr_job *job);

/* After the output is finished: measures what is missing, judges the views, and writes
 * what was asked for. The tomogram stays whatever happens. Collective. */
TR_CHECKED tr_status tr_result_write(tr_result *r, tr_job *job);

/* The same of --residual-of, where no tomogram was made: the JSON. Collective. */
TR_CHECKED tr_status tr_result_write_explained(tr_result *r, tr_job *job);

/* The JSON of a run that failed, if it asks for one; on the first process. A failure of
 * this is only warned of: the run's own is what counts. */
void tr_result_write_failure(const tr_result *r, tr_status status, const char *sentence);

/* result_json.c: the text of the JSON file, from malloc; NULL when memory is short. */
char *tr_result_json(const tr_result *r);
/* report_alignment.c: the part "alignment_check" of it. */
void tr_result_alignment(tr_json *j, const tr_result *r);
char *tr_result_failure_json(const tr_result *r, tr_status status, const char *sentence);

/* result_command.c: the command line as a shell would take it again, with the folder and
 * mpiexec where it was used; from malloc, NULL when memory is short. */
char *tr_result_command(const tr_result *r);

/* checksums.c: compute r->inputs[].sha256 in a thread of its own; wait for it, or end it.
 * A file that cannot be read keeps "". */
TR_CHECKED tr_status tr_checksums_begin(tr_result *r);
void tr_checksums_end(tr_result *r);
void tr_checksums_abandon(tr_result *r);

#endif

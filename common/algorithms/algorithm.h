/* What an algorithm is, and all it may use. An algorithm is one file here and one line
 * in algorithm_list.h; from its rows and functions follow the command line, the help,
 * the manual page and the tests. */
#ifndef TR_ALGORITHM_H
#define TR_ALGORITHM_H

#include "common/algorithms/linop.h"
#include "common/algorithms/model.h"
#include "common/options/opt.h"

typedef struct tr_context tr_context;

/* Bits of `needs`. */
enum {
    TR_USES_INITIAL = 1,       /* it starts from a volume */
    TR_USES_FILTER = 2,        /* it filters along the images' rows */
    TR_NEEDS_WHOLE_VOLUME = 4, /* it cannot work slab by slab */
    TR_NEEDS_OWN_ROWS = 8,     /* slab by slab, only where rows are independent */
    TR_COVERS_OUTSIDE = 16,    /* its model knows what is outside the field */
    TR_STOPS_AT_NOISE = 32,    /* it can stop when the residual is that of noise */
    TR_MODELS_VIEWS = 64,      /* A may hold what the microscope does to views, */
    TR_NEEDS_SPECTRA = 128     /* and always does: it weights by their spectra */
};

typedef struct tr_algorithm {
    const char *name, *help;
    const tr_option *options; /* rows that fill `params` */
    size_t n_options, params_size;
    unsigned needs;
    /* Vectors it holds beside x and b, for the memory plan; or worked out from params. */
    size_t volumes, projections;
    void (*workspace)(const void *params, size_t *volumes, size_t *projections);
    /* How often rows are projected or backprojected one after the other: how far a row's
     * result can reach where rows are coupled. NULL: once. */
    size_t (*applications)(const void *params, size_t n_views);
    /* One line for the log and the file's label: "30 iterations, relaxation 1". */
    void (*describe)(const void *params, char *text, size_t size);
    /* Options that contradict each other or the number of views; may be NULL. */
    tr_status (*check)(const void *params, size_t n_views);
    /* Reconstruct x from b. x holds the start (0 or the initial volume); b may be used
     * as workspace. Vectors made with tr_new_* belong to the context. */
    tr_status (*run)(tr_context *c, const void *params, tr_vec *b, tr_vec *x);
} tr_algorithm;

/* By name, case ignored; NULL if there is none. And the k-th; NULL past the end. */
const tr_algorithm *tr_algorithm_find(const char *name);
const tr_algorithm *tr_algorithm_at(size_t k);

/* The vectors it holds beside x and b with these params. */
static inline void tr_algorithm_workspace(const tr_algorithm *a, const void *params,
                                          size_t *volumes, size_t *projections)
{
    *volumes = a->volumes;
    *projections = a->projections;
    if (a->workspace)
        a->workspace(params, volumes, projections);
}

/* Where the value of its option of this name is within params, or NULL if it has none. */
void *tr_algorithm_option(const tr_algorithm *algorithm, void *params, const char *name);

/* Its number of iterations within params, or NULL if it has none. */
long *tr_algorithm_iterations(const tr_algorithm *algorithm, void *params);

/* algorithm->run; in debug builds an algorithm that takes more vectors than it declares
 * ends there, for plans count on what is declared. */
TR_CHECKED tr_status tr_algorithm_run(const tr_algorithm *algorithm, tr_context *c,
                                      const void *params, tr_vec *b, tr_vec *x);

/* ---- what run() works with ---- */

/* The residual of each iteration, added up over slabs: what the run's closing table
 * shows. squares[k] belongs to iteration k + 1. */
typedef struct tr_history {
    size_t n;
    double *squares;
    double data_squares; /* of b */
    double values;       /* how many that are */
    double lambda;       /* the weight of a regularizer; 0: there is none */
    /* Of each view, when n_views is set and these are made beforehand: |r|^2 in the last
     * iteration, and |b|^2; 0 where the algorithm has no residual. */
    size_t n_views;
    double *view_squares, *view_data;
} tr_history;
void tr_history_free(tr_history *history);

/* Where an algorithm's state is kept, so that a later run can go on. All but get and put
 * are collective. */
typedef struct tr_saver {
    void *self;
    /* The iteration after which a run before stopped, whose state `get` gives piece by
     * piece; 0: there is none. */
    tr_status (*resume)(void *self, long *iteration);
    tr_status (*get)(void *self, void *data, size_t bytes);
    /* After an iteration: whether it is time to save, and whether to stop then. */
    tr_status (*due)(void *self, bool *save, bool *stop);
    tr_status (*begin)(void *self, long iteration);
    tr_status (*put)(void *self, const void *data, size_t bytes);
    tr_status (*end)(void *self);
} tr_saver;

struct tr_context {
    const tr_linop *A;
    const tr_saver *saver; /* NULL: nothing is kept */
    const tr_model *model; /* of the views' spectra; NULL: not measured */
    bool starts_at_zero;   /* x is 0 on entry: the first projection is known */
    double tolerance;      /* stop at |b - A x| <= tolerance |b|; 0: never */
    double stop_at;        /* and at a residual with this standard deviation; 0: never */
    double sigma;          /* of the noise in b; 0: not known */
    bool rows_together;    /* for the volume as a whole, not row by row */
    tr_history *history;
    /* private to context.c */
    size_t n_owned, iteration;
    size_t n_volumes, n_projections; /* taken, without weights */
    size_t n_kept;                   /* vectors of the slab before, to be used again */
    size_t n_room;                   /* for so many vectors */
    float **owned;
    size_t *floats;             /* their lengths */
    double *row_data, *row_now; /* per row: |b|^2, and |r|^2 of this iteration */
    double *row_last;
    double *view_now;  /* per view: |r|^2 of this iteration; NULL if not asked for */
    float *row_active; /* 1, or 0 once the row has reached the tolerance */
};

/* Free what the algorithm allocated. */
void tr_context_end(tr_context *c);
/* The slab is done: what the algorithm allocated is kept for the next one, whose memory
 * is then there already. Ends with tr_context_end as well. */
void tr_context_next(tr_context *c);

/* New vectors, freed by tr_context_end: volumes and weights with undefined contents,
 * projections 0. Weights hold one value per line, or per sample where rows are coupled.
 */
TR_CHECKED tr_status tr_new_volume(tr_context *c, tr_vec *v);
TR_CHECKED tr_status tr_new_projections(tr_context *c, tr_vec *v);
TR_CHECKED tr_status tr_new_volume_weights(tr_context *c, tr_vec *v);
TR_CHECKED tr_status tr_new_projection_weights(tr_context *c, tr_vec *v);
/* Weights of projections, one value per line whatever rows are: that of each view. */
TR_CHECKED tr_status tr_new_view_weights(tr_context *c, const double *of_view, tr_vec *v);

/* x = A^T W p, weights as of mul_lines; `weighted` is room for W p. */
TR_CHECKED tr_status tr_weighted_adjoint(tr_context *c, const tr_vec *W, const tr_vec *p,
                                         tr_vec *weighted, tr_vec *x);

/* The residual r = b - A x of the running iteration, whole or by subsets of views: adds
 * up its norm and zeroes the rows that have reached the tolerance, so that they stay as
 * they are. `data` is b, needed on the first call only. */
TR_CHECKED tr_status tr_residual_add(tr_context *c, const tr_vec *data,
                                     const tr_subset *views, tr_vec *r);
/* The iteration is over: *done when no row is left to improve. */
TR_CHECKED tr_status tr_residual_end(tr_context *c, bool *done);

/* Whether the residual that was added last is down to stop_at: iterations before this one
 * were enough. Collective. */
TR_CHECKED tr_status tr_residual_enough(tr_context *c, bool *enough);

/* What an algorithm goes on from after an iteration, besides b: vectors, with as many
 * values as their shapes say, and numbers. */
typedef struct tr_state {
    tr_vec *const *vectors;
    size_t n_vectors;
    double *numbers;
    size_t n_numbers;
} tr_state;

/* Before the first iteration, everything being set up for it: *iteration is 0, or that
 * after which an earlier run stopped, and the state is what it was then. */
TR_CHECKED tr_status tr_resume(tr_context *c, const tr_state *state, long *iteration);
/* After iteration `iteration`, counted from 1, if another one follows: keeps the state
 * when it is time. TR_ERR_STOPPED when the run is to stop. */
TR_CHECKED tr_status tr_save(tr_context *c, const tr_state *state, long iteration);

/* Row by row, sums[r] = the sum of w x y over row r; where rays leave their rows, the sum
 * over all rows and processes in each of them. w: one factor per line, or per value. */
TR_CHECKED tr_status tr_row_dots(const tr_context *c, const tr_vec *w, const tr_vec *x,
                                 const tr_vec *y, double *sums);

/* values[k], k < n, becomes the sum of rows[k n_rows ...], one value for each row in use,
 * over the rows of all processes in their order: the same however they are shared. */
TR_CHECKED tr_status tr_total(const tr_context *c, const double *rows, size_t n,
                              double *values);
/* rows[r], r < n_rows, becomes the sum of x y over this row in use; over all of x and y
 * where these have one value per line. */
TR_CHECKED tr_status tr_row_products(const tr_context *c, const tr_vec *x,
                                     const tr_vec *y, double *rows);

/* The scalar product, over all processes. */
TR_CHECKED tr_status tr_dot(const tr_context *c, const tr_vec *x, const tr_vec *y,
                            double *sum);

/* Short names for the operator and the vector operations (kernels/backend.h). */
#define TR_FORWARD(c, views, x, p) ((c)->A->ops->forward((c)->A, (views), (x), (p)))
#define TR_ADJOINT(c, views, p, x) ((c)->A->ops->adjoint((c)->A, (views), (p), (x)))
#define TR_ROW_SUMS(c, views, p) ((c)->A->ops->row_sums((c)->A, (views), (p)))
#define TR_COL_SUMS(c, views, x) ((c)->A->ops->col_sums((c)->A, (views), (x)))
#define TR_FILTER(c, f, p) ((c)->A->ops->filter((c)->A, (f), (p)))
#define TR_VECTOR(c, operation, ...)                                                     \
    ((c)->A->backend->operation((c)->A->device, __VA_ARGS__))

/* Options that several algorithms share: one meaning, one text. `P` is the params
 * struct; its members are `long iterations`, `double relaxation`, `double tolerance`,
 * `bool positive`. */
#define TR_OPTION_ITERATIONS(P, number)                                                  \
    TR_INT_ROW(P, iterations, "iterations", "N", number, 1, 100000, .letter = 'i',       \
               .help = "Number of iterations", .brief = "Number of iterations")
#define TR_OPTION_ITERATIONS_AT_MOST(P, number)                                          \
    TR_INT_ROW(                                                                          \
        P, iterations, "iterations", "N", number, 1, 100000, .letter = 'i',              \
        .brief = "Number of iterations",                                                 \
        .help = "Number of iterations; if not given, so many at most, and fewer where "  \
                "the residual reaches the noise of the views")
#define TR_OPTION_RELAXATION(P, number)                                                  \
    TR_REAL_ROW(                                                                         \
        P, relaxation, "relaxation", "FACTOR", number, 1e-6, 1.999999, .letter = 'r',    \
        .help = "Size of a step, between 0 and 2; smaller is slower and smoother")
#define TR_OPTION_TOLERANCE(P)                                                           \
    TR_REAL_ROW(                                                                         \
        P, tolerance, "tolerance", "FRACTION", "0", 0, 1,                                \
        .help =                                                                          \
            "Stop when the residual has fallen to this fraction of the data's norm: "    \
            "each slice by itself where slices are independent; 0 never stops early")
#define TR_OPTION_POSITIVE(P)                                                            \
    TR_FLAG_ROW(P, positive, "positive",                                                 \
                .help = "Set negative densities to 0 after each step")
/* The name of the option that a trial of the weight sets. */
#define TR_LAMBDA_TIMES "lambda-times"

#endif

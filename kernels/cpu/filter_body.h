/* The filter along u for lengths whose prime factors are 2, 3, 5 and 7. Part of
 * project.c, to be compiled for every instruction set.
 *
 * Two views of the same rows are one complex signal: the response is real and even, so
 * real and imaginary part stay apart. Each value of the signal is a vector of rows, so a
 * line of the projections is one as it lies. A transform there leaves its frequencies in
 * another order, and the way back takes them in it; once blocks are small, all that is
 * done to one is done while it is in the first-level cache. */

enum { AHEAD = 24 }; /* lines fetched before they are read */

typedef struct cvec {
    vec re, im;
} cvec;

/* A vector of rows as doubles, in two halves. */
typedef struct rows_sum {
    dvec half[2];
} rows_sum;

static inline __attribute__((always_inline)) void add_to_sum(rows_sum *sum,
                                                             const float *p)
{
    for (int h = 0; h < 2; h++)
        sum->half[h] += __builtin_convertvector(((const fvec *)p)[h], dvec);
}

static inline __attribute__((always_inline)) vec mean_of(const rows_sum *sum, size_t n)
{
    union {
        fvec half[2];
        vec whole;
    } mean;
    for (int h = 0; h < 2; h++)
        mean.half[h] = __builtin_convertvector(sum->half[h] / (double)n, fvec);
    return mean.whole;
}

/* Cosine and sine of 2 pi k / radix. */
static const float circle_re[8][7] = {
    [3] = {1.0f, -0.5f, -0.5f},
    [5] = {1.0f, 0.309016994f, -0.809016994f, -0.809016994f, 0.309016994f},
    [7] = {1.0f, 0.623489802f, -0.222520934f, -0.900968868f, -0.900968868f, -0.222520934f,
           0.623489802f}};
static const float circle_im[8][7] = {
    [3] = {0.0f, 0.866025404f, -0.866025404f},
    [5] = {0.0f, 0.951056516f, 0.587785252f, -0.587785252f, -0.951056516f},
    [7] = {0.0f, 0.781831482f, 0.974927912f, 0.433883739f, -0.433883739f, -0.974927912f,
           -0.781831482f}};

/* The discrete Fourier transform of `radix` values, an odd prime. Values k and radix - k
 * share their products. */
static inline __attribute__((always_inline)) void transform_odd(cvec *x, const int radix)
{
    cvec first = x[0], sum[3], apart[3];
    const int half = radix / 2;
#pragma GCC unroll 8
    for (int j = 0; j < half; j++) {
        cvec a = x[j + 1], b = x[radix - j - 1];
        sum[j] = (cvec){a.re + b.re, a.im + b.im};
        apart[j] = (cvec){a.re - b.re, a.im - b.im};
        x[0].re += sum[j].re;
        x[0].im += sum[j].im;
    }
#pragma GCC unroll 8
    for (int k = 1; k <= half; k++) {
        cvec a = first, b = {{0}, {0}};
#pragma GCC unroll 8
        for (int j = 0; j < half; j++) {
            float c = circle_re[radix][(j + 1) * k % radix];
            float s = circle_im[radix][(j + 1) * k % radix];
            a.re += c * sum[j].re;
            a.im += c * sum[j].im;
            b.re = j ? b.re + s * apart[j].re : s * apart[j].re;
            b.im = j ? b.im + s * apart[j].im : s * apart[j].im;
        }
        x[k] = (cvec){a.re + b.im, a.im - b.re};
        x[radix - k] = (cvec){a.re - b.im, a.im + b.re};
    }
}

/* a + b and a - b; and a - i b and a + i b. */
static inline __attribute__((always_inline)) void add_apart(cvec a, cvec b, cvec *plus,
                                                            cvec *minus)
{
    *plus = (cvec){a.re + b.re, a.im + b.im};
    *minus = (cvec){a.re - b.re, a.im - b.im};
}
static inline __attribute__((always_inline)) void turn_apart(cvec a, cvec b, cvec *plus,
                                                             cvec *minus)
{
    *plus = (cvec){a.re + b.im, a.im - b.re};
    *minus = (cvec){a.re - b.im, a.im + b.re};
}

/* Of x[0], x[step], x[2 step] and x[3 step]. */
static inline __attribute__((always_inline)) void transform_4(const cvec *x,
                                                              const int step, cvec *y)
{
    cvec even[2], odd[2];
    add_apart(x[0], x[2 * step], &even[0], &even[1]);
    add_apart(x[step], x[3 * step], &odd[0], &odd[1]);
    add_apart(even[0], odd[0], &y[0], &y[2]);
    turn_apart(even[1], odd[1], &y[1], &y[3]);
}

static inline __attribute__((always_inline)) void transform_8(cvec *x)
{
    const float half = 0.707106781f; /* its square */
    cvec even[4], odd[4];
    transform_4(x, 2, even);
    transform_4(x + 1, 2, odd);
    cvec a = odd[1], b = odd[3];
    odd[1] = (cvec){half * (a.re + a.im), half * (a.im - a.re)};
    odd[3] = (cvec){half * (b.im - b.re), -half * (b.im + b.re)};
    add_apart(even[0], odd[0], &x[0], &x[4]);
    add_apart(even[1], odd[1], &x[1], &x[5]);
    turn_apart(even[2], odd[2], &x[2], &x[6]);
    add_apart(even[3], odd[3], &x[3], &x[7]);
}

static inline __attribute__((always_inline)) void transform(cvec *x, const int radix)
{
    if (radix == 8)
        transform_8(x);
    else if (radix == 4) {
        cvec y[4];
        transform_4(x, 1, y);
        for (int q = 0; q < 4; q++)
            x[q] = y[q];
    } else if (radix == 2)
        add_apart(x[0], x[1], &x[0], &x[1]);
    else
        transform_odd(x, radix);
}

/* One level of a block there, or back. With real and imaginary part in each other's place
 * the transform back is the one there. */
static inline __attribute__((always_inline)) void
pass_radix(cvec *x, size_t part, const float *twiddle, const bool back, const int radix)
{
    for (size_t j = 0; j < part; j++, twiddle += 2 * (radix - 1)) {
        cvec v[TR_FFT_RADIX];
#pragma GCC unroll 8
        for (int q = 0; q < radix; q++) {
            cvec a = x[j + (size_t)q * part];
            v[q] = back ? (cvec){a.im, a.re} : a;
        }
        if (!back)
            transform(v, radix);
#pragma GCC unroll 8
        for (int q = 1; q < radix; q++) {
            float re = twiddle[2 * q - 2], im = twiddle[2 * q - 1];
            v[q] = (cvec){v[q].re * re - v[q].im * im, v[q].im * re + v[q].re * im};
        }
        if (back)
            transform(v, radix);
#pragma GCC unroll 8
        for (int q = 0; q < radix; q++)
            x[j + (size_t)q * part] = back ? (cvec){v[q].im, v[q].re} : v[q];
    }
}

/* The last level there, the response and the first level back, where parts are of one
 * value. */
static inline __attribute__((always_inline)) void turn_radix(cvec *x, const float *gain,
                                                             const int radix)
{
    cvec v[TR_FFT_RADIX];
#pragma GCC unroll 8
    for (int q = 0; q < radix; q++)
        v[q] = x[q];
    transform(v, radix);
#pragma GCC unroll 8
    for (int q = 0; q < radix; q++)
        v[q] = (cvec){gain[q] * v[q].im, gain[q] * v[q].re};
    transform(v, radix);
#pragma GCC unroll 8
    for (int q = 0; q < radix; q++)
        x[q] = (cvec){v[q].im, v[q].re};
}

#define TR_EACH_RADIX(radix, DO)                                                         \
    switch (radix) {                                                                     \
    case 2:                                                                              \
        DO(2);                                                                           \
        break;                                                                           \
    case 3:                                                                              \
        DO(3);                                                                           \
        break;                                                                           \
    case 4:                                                                              \
        DO(4);                                                                           \
        break;                                                                           \
    case 5:                                                                              \
        DO(5);                                                                           \
        break;                                                                           \
    case 7:                                                                              \
        DO(7);                                                                           \
        break;                                                                           \
    default:                                                                             \
        DO(8);                                                                           \
    }

static void pass(const tr_fft *fft, int level, bool back, cvec *x)
{
    size_t part = fft->part[level];
    const float *twiddle = fft->twiddle[level];
#define TR_THERE(radix) pass_radix(x, part, twiddle, false, radix)
#define TR_BACK(radix) pass_radix(x, part, twiddle, true, radix)
    if (back)
        TR_EACH_RADIX(fft->radix[level], TR_BACK)
    else
        TR_EACH_RADIX(fft->radix[level], TR_THERE)
#undef TR_THERE
#undef TR_BACK
}

static void turn(const tr_fft *fft, const float *gain, cvec *x)
{
#define TR_TURN(radix) turn_radix(x, gain, radix)
    TR_EACH_RADIX(fft->radix[fft->levels - 1], TR_TURN)
#undef TR_TURN
}

/* There, times gain at each place, and back: a block from a level on. */
static void filter_block(const tr_fft *fft, int level, const float *gain, cvec *x)
{
    if (level == fft->levels - 1) {
        turn(fft, gain, x);
        return;
    }
    size_t part = fft->part[level];
    pass(fft, level, false, x);
    for (size_t q = 0; q < (size_t)fft->radix[level]; q++)
        filter_block(fft, level + 1, gain + q * part, x + q * part);
    pass(fft, level, true, x);
}

/* One way only. */
static void transform_block(const tr_fft *fft, int level, bool back, cvec *x)
{
    if (!back)
        pass(fft, level, false, x);
    for (size_t q = 0; level + 1 < fft->levels && q < (size_t)fft->radix[level]; q++)
        transform_block(fft, level + 1, back, x + q * fft->part[level]);
    if (back)
        pass(fft, level, true, x);
}

/* The response where real and imaginary part have one each. With Z the spectrum of
 * a + i b, that of a is (Z[k] + conj Z[-k]) / 2, that of i b (Z[k] - conj Z[-k]) / 2. */
static void apply_responses(const tr_fft *fft, const float *a, const float *b, cvec *x)
{
    size_t length = fft->length;
    for (size_t k = 0; k <= length / 2; k++) {
        float both = 0.5f * (a[k] + b[k]) / (float)length;
        float apart = 0.5f * (a[k] - b[k]) / (float)length;
        cvec *up = x + fft->place[k], *down = x + fft->place[(length - k) % length];
        cvec one = *up, other = *down;
        *up = (cvec){both * one.re + apart * other.re, both * one.im - apart * other.im};
        *down =
            (cvec){both * other.re + apart * one.re, both * other.im - apart * one.im};
    }
}

/* One view's rows into the real (0) or imaginary (1) parts, extended by the line from the
 * mean of the last 3 values to the mean of the first 3. Returns the rows' means. */
static inline __attribute__((always_inline)) vec load_view(const float *p, size_t rows,
                                                           size_t n_u, size_t length,
                                                           const int imaginary, cvec *x)
{
    size_t edge = min_size(3, n_u), added = length - n_u;
    rows_sum sum = {0}, first = {0}, last = {0};
    for (size_t u = 0; u < n_u; u++) {
        vec value = *(const vec *)(p + u * rows);
        __builtin_prefetch(p + min_size(u + AHEAD, n_u - 1) * rows);
        *(imaginary ? &x[u].im : &x[u].re) = value;
        add_to_sum(&sum, p + u * rows);
    }
    for (size_t u = 0; u < edge; u++) {
        add_to_sum(&first, p + u * rows);
        add_to_sum(&last, p + (n_u - u - 1) * rows);
    }
    vec from = mean_of(&last, edge), to = mean_of(&first, edge);
    for (size_t u = 0; u < added; u++) {
        float t = (float)((double)(u + 1) / (double)(added + 1));
        *(imaginary ? &x[n_u + u].im : &x[n_u + u].re) = (1.0f - t) * from + t * to;
    }
    return mean_of(&sum, n_u);
}

static inline __attribute__((always_inline)) void store_view(float *p, size_t rows,
                                                             size_t n_u,
                                                             const int imaginary,
                                                             float weight, const cvec *x)
{
    for (size_t u = 0; u < n_u; u++)
        *(vec *)(p + u * rows) = weight * (imaginary ? x[u].im : x[u].re);
}

static void fill_guards(float *p, size_t rows, size_t n_u, vec value)
{
    *(vec *)p = *(vec *)(p + (n_u + 1) * rows) = *(vec *)(p + (n_u + 2) * rows) = value;
}

static void filter_rows(const tr_slab *s, const tr_filter *f, const tr_fft *fft,
                        const float *gain, size_t view, float *p, cvec *x)
{
    size_t rows = s->p_rows, stride = (s->n_u + TR_GUARDS) * rows;
    bool pair = view + 1 < s->n_views;
    float *a = p, *b = pair ? p + stride : p;
    vec mean_a = load_view(a + rows, rows, s->n_u, f->length, 0, x);
    vec mean_b = load_view(b + rows, rows, s->n_u, f->length, 1, x);
    if (f->stride && pair) {
        const float *response = f->response + view * f->stride;
        transform_block(fft, 0, false, x);
        apply_responses(fft, response, response + f->stride, x);
        transform_block(fft, 0, true, x);
    } else
        filter_block(fft, 0, gain, x);
    store_view(a + rows, rows, s->n_u, 0, f->weight[view], x);
    fill_guards(a, rows, s->n_u, f->edge_gain * f->weight[view] * mean_a);
    if (pair) {
        store_view(b + rows, rows, s->n_u, 1, f->weight[view + 1], x);
        fill_guards(b, rows, s->n_u, f->edge_gain * f->weight[view + 1] * mean_b);
    }
}

/* A cache line of rows of views `view` and `view` + 1: see project.h. */
static void filter_pair(const tr_slab *s, const tr_filter *f, const tr_fft *fft,
                        const float *gain, size_t view, size_t lane, float *p,
                        float *work)
{
    float *line = p + view * (s->n_u + TR_GUARDS) * s->p_rows + lane;
    for (size_t r = 0; r < TR_LANES; r += VECTOR)
        filter_rows(s, f, fft, gain, view, line + r, (cvec *)work);
}

/* The twin of app/inference/ensemble.py: X, history states and references become prices, for a request's few rows in
 * one call. What it does is data: a program of steps over registers, each a column of a block of rows, written by
 * app/inference/program.py. Every operation is that of app/inference/arithmetic.py, in the same order: the same bits.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "logarithm.h"

#define PLTV_INTERFACE 2 /* app/inference/program.INTERFACE: counted up with every change of the structs or steps */
#define EXPORT __attribute__((visibility("default")))

enum { BLOCK = 64 };
enum {
    TREES, EXP, SIGMOID, LOG1P, EXPM1, POWER, ADD, MULTIPLY, DIVIDE, POSITIVE, CURVE, STATE, CLIP, PROJECT,
    SUBTRACT, MAXIMUM, DOT
};

typedef struct {
    int (*predict)(const double *X, size_t n_rows, double *out);
    int64_t n_features, n_targets;
} library_t;

/* at: where the step's constants or picks begin; n: how many. */
typedef struct {
    int64_t operation, out, a, b, at, n;
} step_t;

typedef struct {
    int64_t n_steps, n_registers, n_features, n_outputs, widest_input, widest_output;
    const step_t *steps;
    const double *constants;
    const int64_t *picks, *outputs;
    const library_t *libraries;
} program_t;

typedef struct {
    const program_t *program;
    int64_t n; /* rows of this block */
    const double *X;
    const int64_t *state;
    double *registers, *matrix, *scores;
} block_t;

static double exponential(double x) {
    x = x < -746.0 ? -746.0 : x;
    double k = rint(x * 1.44269504088896338700e00);
    double high = x - k * 6.93147180369123816490e-01, low = k * 1.90821492927058770002e-10;
    double r = high - low, t = r * r;
    double c = r - t * (1.66666666666666019037e-01 +
                        t * (-2.77777777770155933842e-03 +
                             t * (6.61375632143793436117e-05 +
                                  t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08))));
    return ldexp(1.0 - ((low - (r * c) / (2.0 - c)) - high), (int)k);
}

static double log_1p(double x) {
    double u = 1.0 + x;
    return natural_log(u) - ((u - 1.0) - x) / u;
}

static double exp_m1(double x) {
    double u = exponential(x);
    return u == 1.0 ? x : (u - 1.0) * x / natural_log(u);
}

static double capped_exp(double x) { return exponential(x < 50.0 ? x : 50.0); } /* ensemble.LINK_CAP */

/* knots: n values of x, n of y, n slopes. */
static double interpolate(double value, const double *knots, int64_t n) {
    int64_t first = 0, last = n; /* the first knot above `value` lies in [first, last] */
    while (first < last) {
        int64_t middle = (first + last) / 2;
        if (knots[middle] <= value)
            first = middle + 1;
        else
            last = middle;
    }
    int64_t j = first ? first - 1 : 0;
    value = value > knots[0] ? value : knots[0];
    return knots[n + j] + knots[2 * n + j] * (value - knots[j]);
}

static int run_trees(const block_t *b, const step_t *s) {
    const program_t *p = b->program;
    const library_t *library = p->libraries + s->a;
    const double *X = b->X;
    if (s->n) { /* its X is X (if `b` says so), then registers on the float32 grid */
        const int64_t *picks = p->picks + s->at, own = s->b ? p->n_features : 0, width = own + s->n;
        for (int64_t i = 0; i < b->n; i++) {
            double *row = b->matrix + i * width;
            if (own) memcpy(row, X + i * own, (size_t)own * sizeof *row);
            for (int64_t j = 0; j < s->n; j++) row[own + j] = (double)(float)b->registers[picks[j] * BLOCK + i];
        }
        X = b->matrix;
    }
    if (library->predict(X, (size_t)b->n, b->scores)) return 1;
    for (int64_t j = 0; j < library->n_targets; j++)
        for (int64_t i = 0; i < b->n; i++)
            b->registers[(s->out + j) * BLOCK + i] = b->scores[i * library->n_targets + j];
    return 0;
}

/* A(j, k) of app/inference/ordering.py. */
static double mean(const double *v, const double *w, int64_t j, int64_t k) {
    if (j == k) return v[j];
    double sum = w[j] * v[j], weight = w[j];
    for (int64_t i = j + 1; i <= k; i++) {
        sum = sum + w[i] * v[i];
        weight = weight + w[i];
    }
    return sum / weight;
}

static double isotonic(const double *v, const double *w, int64_t n, int64_t i) {
    double most = -INFINITY;
    for (int64_t j = 0; j <= i; j++) {
        double least = INFINITY;
        for (int64_t k = i; k < n; k++) {
            double a = mean(v, w, j, k);
            least = a < least ? a : least;
        }
        most = least > most ? least : most;
    }
    return most + 0.0;
}

/* In place on the registers picked; register `out` says which rows were out of order. */
static void project(const block_t *b, const step_t *s) {
    const int64_t *picks = b->program->picks + s->at;
    const double *weights = b->program->constants + s->a;
    for (int64_t i = 0; i < b->n; i++) {
        double *v = b->matrix;
        int ordered = 1;
        for (int64_t h = 0; h < s->n; h++) {
            v[h] = b->registers[picks[h] * BLOCK + i];
            ordered &= !h || v[h - 1] <= v[h];
        }
        for (int64_t h = 0; h < s->n; h++) {
            double m = ordered ? v[h] : isotonic(v, weights, s->n, h);
            b->registers[picks[h] * BLOCK + i] = m > 0.0 ? m : 0.0;
        }
        b->registers[s->out * BLOCK + i] = ordered ? 0.0 : 1.0;
    }
}

/* `a`: where its constants begin: the intercept, then fill, low, high and weight of each column picked. */
static void dot(const block_t *b, const step_t *s) {
    const program_t *p = b->program;
    const int64_t *picks = p->picks + s->at;
    for (int64_t i = 0; i < b->n; i++) {
        const double *x = b->X + i * p->n_features, *c = p->constants + s->a;
        double sum = *c++;
        for (int64_t j = 0; j < s->n; j++, c += 4) {
            double v = x[picks[j]];
            v = v != v ? c[0] : v;
            v = v > c[1] ? v : c[1];
            sum = sum + c[3] * (v < c[2] ? v : c[2]);
        }
        b->registers[s->out * BLOCK + i] = sum;
    }
}

#define EACH(value) \
    for (int64_t i = 0; i < n; i++) out[i] = (value); \
    break

static int run(const block_t *b, const step_t *s) {
    const double *restrict x = b->registers + s->a * BLOCK, *y = b->registers + s->b * BLOCK;
    const double *c = b->program->constants + s->at;
    double *out = b->registers + s->out * BLOCK;
    int64_t n = b->n;
    switch (s->operation) {
    case TREES: return run_trees(b, s);
    case EXP: EACH(capped_exp(x[i]));
    case SIGMOID: EACH(1.0 / (1.0 + capped_exp(-x[i])));
    case LOG1P: EACH(log_1p(x[i]));
    case EXPM1: EACH(exp_m1(x[i]));
    case POWER: EACH(x[i] > 0.0 ? exponential(c[0] * natural_log(x[i])) : 0.0);
    case ADD: EACH(x[i] + y[i]);
    case MULTIPLY: EACH(x[i] * y[i]);
    case DIVIDE: EACH(x[i] / y[i]);
    case POSITIVE: EACH(x[i] > 0.0 ? x[i] : 0.0);
    case CURVE: EACH(interpolate(x[i], c, s->n));
    case STATE: EACH(x[i] * c[b->state[i]]);
    case CLIP: EACH(x[i] < c[0] ? c[0] : x[i] > c[1] ? c[1] : x[i]);
    case PROJECT: project(b, s); break;
    case SUBTRACT: EACH(x[i] - y[i]);
    case MAXIMUM: EACH(x[i] > y[i] ? x[i] : y[i]);
    case DOT: dot(b, s); break;
    default: return 2;
    }
    return 0;
}

EXPORT int pltv_interface(void) { return PLTV_INTERFACE; }

/* X: (n_rows, n_features); state, reference: (n_rows,); out: (n_rows, n_outputs); all C-contiguous. Register 0 holds
 * the references. 0; 1 where memory ran out; 2 for a step that is unknown here. */
EXPORT int pltv_ensemble(const program_t *p, const double *X, const int64_t *state, const double *reference,
                         int64_t n_rows, double *out) {
    int64_t cells = BLOCK * (p->n_registers + p->widest_input + p->widest_output);
    double *memory = malloc((size_t)cells * sizeof *memory);
    int status = memory ? 0 : 1;
    for (int64_t start = 0; start < n_rows && !status; start += BLOCK) {
        int64_t n = n_rows - start < BLOCK ? n_rows - start : BLOCK;
        block_t b = {p, n, X + start * p->n_features, state + start, memory, memory + BLOCK * p->n_registers, NULL};
        b.scores = b.matrix + BLOCK * p->widest_input;
        for (int64_t i = 0; i < n; i++) b.registers[i] = reference[start + i];
        for (int64_t s = 0; s < p->n_steps && !status; s++) status = run(&b, p->steps + s);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < p->n_outputs; j++)
                out[(start + i) * p->n_outputs + j] = b.registers[p->outputs[j] * BLOCK + i];
    }
    free(memory);
    return status;
}

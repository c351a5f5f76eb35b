/* The feature plan in C: the same operations in the same order as app/features (aggregates, scalars, matrix, ranks),
 * bit for bit. numpy is the definition; this is its twin for the few rows of a request, where numpy's call overhead
 * would be the whole cost. Compile with -ffp-contract=off and without -ffast-math: every operation is one IEEE 754
 * operation, and sums follow numpy's pairwise order.
 *
 * Tables and batches are structs of pointers, filled by app/features/twin.py; the order of their members is fixed there.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "features.h"
#include "logarithm.h"

enum { COUNT, SUM, MEAN, MAX, MIN, STD, ENTROPY, TOP_SHARE, N_STATISTICS };
enum { N_CLOCK = 6, ENCODINGS = 3, HOURS_A_WEEK = 168 };

static const double HOURS = -1.0 / 3600.0, FLOAT_MAX = 3.4028234663852886e38;

/* numpy's pairwise summation (loops_utils.h.src): its order of additions is part of the bits. */
static double pairwise(const double *a, int64_t n) {
    if (n < 8) {
        double sum = -0.0;
        for (int64_t i = 0; i < n; i++) sum += a[i];
        return sum;
    }
    if (n <= 128) {
        double r[8];
        int64_t i;
        memcpy(r, a, sizeof r);
        for (i = 8; i < n - n % 8; i += 8)
            for (int k = 0; k < 8; k++) r[k] += a[i + k];
        double sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
        for (; i < n; i++) sum += a[i];
        return sum;
    }
    int64_t half = n / 2;
    half -= half % 8;
    return pairwise(a, half) + pairwise(a + half, n - half);
}

/* numpy.add.reduceat of one segment, n >= 1. */
double reduce(const double *a, int64_t n) { return n == 1 ? a[0] : a[0] + pairwise(a + 1, n - 1); }

static double rounded(double x) {
    x = x < -FLOAT_MAX ? -FLOAT_MAX : x;
    x = x > FLOAT_MAX ? FLOAT_MAX : x;
    return (double)(float)x + 0.0;
}

static double age(double time, double now) {
    double hours = (time - now) * HOURS;
    return hours < 0.0 ? 0.0 : hours;
}

/* Statistics of one non-empty segment; `scratch` holds 2 n numbers. */
static void aggregate(const double *values, int64_t n, double now, int temporal, int64_t wants, double *scratch,
                      double *out) {
    double *v = scratch, *t = scratch + n;
    double top, low;
    if (temporal)
        for (int64_t i = 0; i < n; i++) v[i] = age(values[i], now);
    else
        memcpy(v, values, (size_t)n * sizeof *v);
    double sum = reduce(v, n);
    out[SUM] = sum;
    out[MEAN] = sum / (double)n;
    top = low = v[0];
    for (int64_t i = 1; i < n; i++) {
        top = v[i] > top ? v[i] : top;
        low = v[i] < low ? v[i] : low;
    }
    out[MAX] = top;
    out[MIN] = low;
    if (wants & (1 << STD)) {
        for (int64_t i = 0; i < n; i++) {
            double deviation = v[i] - out[MEAN];
            t[i] = deviation * deviation;
        }
        out[STD] = sqrt(reduce(t, n) / (double)n);
    }
    if (wants & (1 << ENTROPY | 1 << TOP_SHARE)) {
        double total = sum > 0.0 ? sum : NAN;
        out[TOP_SHARE] = top / total;
        if (wants & 1 << ENTROPY) {
            for (int64_t i = 0; i < n; i++) {
                double share = v[i] / total, safe = share > 0.0 ? share : 1.0;
                t[i] = -safe * natural_log(safe);
            }
            out[ENTROPY] = reduce(t, n) + 0.0 * total;
        }
    }
}

static double *lookups(double *line, const double *found, const double *temporal, int64_t n, double now) {
    for (int64_t j = 0; j < n; j++) {
        double value = found[j];
        *line++ = value == -INFINITY ? -1.0 : temporal[j] == 1.0 ? age(value, now) : value;
    }
    return line;
}

static double *encoded(double *line, const double *table, const int64_t *rows, int64_t n) {
    for (int64_t j = 0; j < n; j++, line += ENCODINGS)
        memcpy(line, table + rows[j] * ENCODINGS, ENCODINGS * sizeof *line);
    return line;
}

/* All features of user u that need no campaign. `next` holds where each segment's values continue. */
static double *user_line(const plan_t *p, const batch_t *b, int64_t u, int64_t *next, double *statistics, double *scratch,
                         double *line) {
    double now = b->now[u * b->now_stride];
    const double *numbers = b->numbers + u * b->numbers_stride, *parsed = b->parsed + u * (p->n_versions + p->n_months);
    const int64_t *counts = b->counts + u * p->n_segments;
    *line++ = (double)b->state[u];
    memcpy(line, p->clock + in_cycle(hours_of(now), HOURS_A_WEEK) * N_CLOCK, N_CLOCK * sizeof *line);
    line += N_CLOCK;
    for (int64_t j = 0; j < p->n_numbers; j++) *line++ = p->number_temporal[j] == 1.0 ? age(numbers[j], now) : numbers[j];
    for (int64_t j = 0; j < p->n_versions; j++) *line++ = *parsed++;
    for (int64_t j = 0; j < p->n_months; j++) *line++ = (now - *parsed++) / 86400.0;
    for (int64_t s = 0; s < p->n_segments; s++) {
        double *out = statistics + s * N_STATISTICS;
        int64_t n = counts[s];
        for (int k = 0; k < N_STATISTICS; k++) out[k] = NAN;
        if (n >= 0) out[COUNT] = (double)n;
        if (n == 0) out[SUM] = 0.0;
        if (n > 0 && s < p->n_numeric) {
            int64_t at = b->segment_major ? next[s] : next[0];
            if (p->segment_wants[s] & ~(1 << COUNT))
                aggregate(b->values + at, n, now, p->segment_temporal[s] == 1.0, p->segment_wants[s], scratch, out);
            next[b->segment_major ? s : 0] += n;
        }
    }
    for (int64_t j = 0; j < p->n_aggregates; j++)
        *line++ = statistics[p->aggregate_segment[j] * N_STATISTICS + p->aggregate_statistic[j]];
    line = lookups(line, b->user_lookups + u * b->user_lookups_stride, p->user_lookup_temporal, p->n_user_lookups, now);
    return encoded(line, p->user_table, b->user_rows + u * p->n_user_encoded, p->n_user_encoded);
}

static void derive(const plan_t *p, const double *base, const double *quantiles, double *x) {
    double *at = x;
    for (int64_t j = 0; j < p->n_keep; j++) *at++ = base[p->keep[j]];
    for (int64_t j = 0; j < p->n_ratios; j++) {
        double denominator = base[p->ratio_right[j]];
        *at++ = rounded(base[p->ratio_left[j]] / (denominator == 0.0 ? NAN : denominator));
    }
    for (int64_t j = 0; j < p->n_products; j++) *at++ = rounded(base[p->product_left[j]] * base[p->product_right[j]]);
    for (int64_t j = 0; j < p->n_ranked; j++, quantiles += p->n_quantiles) {
        double value = base[p->ranked[j]];
        int64_t below = 0;
        for (int64_t q = 0; q < p->n_quantiles; q++) below += quantiles[q] < value;
        *at++ = isnan(value) ? NAN : rounded((double)below / (double)p->n_quantiles);
    }
    for (; x < at; x++) { /* without a branch: which features are missing is nothing that a processor can foresee */
        uint64_t bits, missing = -(uint64_t)(*x != *x);
        memcpy(&bits, x, sizeof bits);
        bits |= missing;
        memcpy(x, &bits, sizeof bits);
    }
}

int pltv_interface(void) { return PLTV_INTERFACE; }

/* Fill x, (n_rows, n_features). `owner` must rise from 0 in steps of at most 1. 0, or 1 where memory is lacking. */
int pltv_features(const plan_t *p, const batch_t *b) {
    int64_t longest = 1, n_user = 1 + N_CLOCK + p->n_numbers + p->n_versions + p->n_months + p->n_aggregates +
                                 p->n_user_lookups + ENCODINGS * p->n_user_encoded;
    int64_t n_base = n_user + p->n_row_lookups + ENCODINGS * p->n_row_encoded + p->n_campaign_numbers;
    int64_t n_features = p->n_keep + p->n_ratios + p->n_products + p->n_ranked;
    for (int64_t u = 0; u < b->n_users; u++) /* counts of segments without values bound nothing: no scratch for them */
        for (int64_t s = 0; s < p->n_numeric; s++) {
            int64_t n = b->counts[u * p->n_segments + s];
            longest = n > longest ? n : longest;
        }
    size_t n_doubles = (size_t)(2 * longest + n_base + N_STATISTICS * p->n_segments);
    double *memory = malloc(n_doubles * sizeof(double) + (size_t)(p->n_segments + 1) * sizeof(int64_t));
    if (!memory) return 1;
    double *base = memory, *statistics = base + n_base, *scratch = statistics + N_STATISTICS * p->n_segments;
    int64_t *next = (int64_t *)(memory + n_doubles);
    next[0] = 0;
    if (b->segment_major)
        for (int64_t s = 0; s < p->n_numeric; s++) {
            next[s + 1] = next[s];
            for (int64_t u = 0; u < b->n_users; u++) {
                int64_t n = b->counts[u * p->n_segments + s];
                next[s + 1] += n > 0 ? n : 0;
            }
        }
    for (int64_t r = 0, u = -1; r < b->n_rows; r++) {
        while (u < b->owner[r]) {
            u++;
            double *end = user_line(p, b, u, next, statistics, scratch, base);
            for (double *v = base; v < end; v++) *v = rounded(*v);
        }
        double *row = base + n_user, now = b->now[u * b->now_stride];
        row = lookups(row, b->row_lookups + r * b->row_lookups_stride, p->row_lookup_temporal, p->n_row_lookups, now);
        row = encoded(row, p->row_table, b->row_rows + r * p->n_row_encoded, p->n_row_encoded);
        memcpy(row, b->campaign_numbers + r * b->campaign_numbers_stride, (size_t)p->n_campaign_numbers * sizeof *row);
        for (double *v = base + n_user; v < base + n_base; v++) *v = rounded(*v);
        derive(p, base, p->quantiles + b->cohort[r] * p->n_ranked * p->n_quantiles, b->x + r * n_features);
    }
    free(memory);
    return 0;
}

/* What the feature plan's C files share. The order of the members is fixed by app/features/twin.py. */
#ifndef PLTV_FEATURES_H
#define PLTV_FEATURES_H
#include <stdint.h>

#define PLTV_INTERFACE 4 /* app/features/twin.INTERFACE: counted up with every change of these structs or functions */
#define EXPORT __attribute__((visibility("default")))

typedef struct {
    int64_t n_numbers, n_versions, n_months, n_segments, n_numeric, n_aggregates, n_user_lookups, n_user_encoded,
        n_row_lookups, n_row_encoded, n_campaign_numbers, n_keep, n_ratios, n_products, n_ranked, n_quantiles;
    const double *number_temporal, *clock, *segment_temporal;
    const int64_t *segment_wants, *aggregate_statistic, *aggregate_segment;
    const double *user_lookup_temporal, *row_lookup_temporal, *user_table, *row_table;
    const int64_t *keep, *ratio_left, *ratio_right, *product_left, *product_right, *ranked;
    const double *quantiles;
} plan_t;

typedef struct {
    int64_t n_users, n_rows, segment_major;
    const int64_t *owner, *state, *counts, *user_rows, *row_rows, *cohort;
    const double *now, *numbers, *parsed, *values, *user_lookups, *campaign_numbers, *row_lookups;
    int64_t now_stride, numbers_stride, user_lookups_stride, campaign_numbers_stride, row_lookups_stride;
    double *x;
} batch_t;

/* The full hours at or before `now`, unix seconds: rounded down, as Python's //, before 1970 too. */
static inline int64_t hours_of(double now) {
    int64_t seconds = (int64_t)now;
    return seconds / 3600 - (seconds % 3600 < 0);
}

/* The place of an hour or a day in a cycle of n, at least 0. */
static inline int64_t in_cycle(int64_t i, int64_t n) { return (i % n + n) % n; }

EXPORT int pltv_interface(void);

/* numpy.add.reduceat of one segment, n >= 1. */
double reduce(const double *a, int64_t n);

/* Fill batch->x, (n_rows, n_features). `owner` must rise from 0 in steps of at most 1. 0, or 1 where memory is lacking. */
EXPORT int pltv_features(const plan_t *plan, const batch_t *batch);

#endif

/* Entry point of a library of trees, compiled beside the code that tl2cgen generates.
 *
 * Trees compare bin numbers instead of doubles: half the instructions, and any NaN is missing, whatever its bits.
 * A block of rows is binned once, into scratch that belongs to the call: the caller's X is only read, and calls
 * on several threads do not meet. Then each unit of trees runs over the whole block while its code is hot in the
 * instruction cache. A row still meets the units in order, so its sums are LightGBM's to the last bit.
 * Targets that begin with the same trees share one sum until unit PARTING, where the others get a copy of it.
 * Sums begin at START and are divided by DIVISOR.
 */
#include "quantize.c" /* header.h, and threshold, th_begin, th_len: the sorted thresholds of every feature */
#include "pltv.h"     /* N_FEATURES, BLOCK_ROWS, UNITS: predict_unit0, …; PARTING, SOURCE, COPIES; STRICT, START, DIVISOR */

#define EXPORT __attribute__((visibility("default")))

typedef void (*unit)(union Entry *row, double *out);
static const unit units[] = {UNITS};
static const int copies[] = {COPIES}; /* targets; the first N_COPIES count */

EXPORT const int32_t pltv_n_features = N_FEATURES;
EXPORT const int32_t pltv_n_targets = N_TARGET;

/* Trees compare bins with 2i where they mean threshold[i]. STRICT, x < threshold[i]: the bin is below 2i exactly there;
 * it is even, so that it is never -1, which means missing. Otherwise x <= threshold[i]: it is at most 2i exactly there. */
#define PASSED(threshold, x) (STRICT ? (threshold) <= (x) : (threshold) < (x))

/* Branch-free halving, as every branch of a search is a coin toss to the predictor. */
static int bin(double x, int feature) {
  const double *first = threshold + th_begin[feature], *at = first;
  for (int n = th_len[feature]; n > 0;) {
    int half = (n + 1) >> 1;
    at += half & -PASSED(at[half - 1], x);
    n -= half;
  }
  return 2 * ((int)(at - first) - STRICT);
}

static void bin_row(const double *x, union Entry *row) {
  for (int j = 0; j < N_FEATURES; ++j) {
    row[j].missing = x[j] != x[j] ? -1 : bin(x[j], j);
  }
}

/* The same for a row that follows another: campaigns of one user differ in few features. */
static void bin_next_row(const double *x, const union Entry *before, union Entry *row) {
  for (int j = 0; j < N_FEATURES; ++j) {
    uint64_t own, other;
    memcpy(&own, x + j, sizeof own); /* bits, so that a missing value equals itself; a call of memcmp costs a bin */
    memcpy(&other, x + j - N_FEATURES, sizeof other);
    if (own == other)
      row[j] = before[j];
    else
      row[j].missing = x[j] != x[j] ? -1 : bin(x[j], j);
  }
}

static void part(double *out) {
  for (int c = 0; c < N_COPIES; ++c) out[copies[c]] = out[SOURCE];
}

static void run_units(size_t from, size_t to, union Entry *rows, size_t n, double *out) {
  for (size_t u = from; u < to; ++u)
    for (size_t i = 0; i < n; ++i) units[u](rows + i * N_FEATURES, out + i * N_TARGET);
}

/* X (n_rows, N_FEATURES) and out (n_rows, N_TARGET) are C-contiguous. Returns 0, or 1 when memory ran out. */
EXPORT int pltv_predict(const double *X, size_t n_rows, double *out) {
  size_t block = n_rows < BLOCK_ROWS ? n_rows : BLOCK_ROWS;
  union Entry *rows = malloc((block ? block : 1) * N_FEATURES * sizeof *rows);
  if (!rows) return 1;
  for (size_t i = 0; i < n_rows * N_TARGET; ++i) out[i] = START;
  for (size_t start = 0; start < n_rows; start += block) {
    size_t n = n_rows - start < block ? n_rows - start : block;
    bin_row(X + start * N_FEATURES, rows);
    for (size_t i = 1; i < n; ++i)
      bin_next_row(X + (start + i) * N_FEATURES, rows + (i - 1) * N_FEATURES, rows + i * N_FEATURES);
    run_units(0, PARTING, rows, n, out + start * N_TARGET);
    for (size_t i = 0; i < n; ++i) part(out + (start + i) * N_TARGET);
    run_units(PARTING, sizeof units / sizeof *units, rows, n, out + start * N_TARGET);
  }
  free(rows);
  for (size_t i = 0; i < n_rows * N_TARGET; ++i) out[i] /= DIVISOR; /* nothing where it is 1.0 */
  return 0;
}

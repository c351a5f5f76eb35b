/* A packed history in place: app/features/history.py describes the format and remains its definition. */
#ifndef PLTV_PACKED_H
#define PLTV_PACKED_H
#include <math.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error packed histories are little-endian, and are read in place
#endif

enum { MAGIC_BYTES = 4, FINGERPRINT_BYTES = 16, AS_OF_AT = 20, N_VALUES_AT = 28, WIDTH_AT = 32, KNOWN_AT = 33,
       HEADER_BYTES = 40 };
#define PACKED_MAGIC "PLH2"
#define NO_AS_OF INT64_MIN

/* What a declaration says of its users' histories. `keyed`: the segment of each field whose keys are kept; `slots`: the
 * place of each segment's field among those, or -1. */
typedef struct {
    int64_t n_numbers, n_texts, n_segments, n_numeric, n_keyed;
    const int64_t *keyed, *slots;
    const char *fingerprint;
} shape_t;

/* Where the entries of a keyed field lie: n (-1 for unknown), the place of its first length, of its first byte, and of its
 * first value (-1 in a list of strings). */
typedef struct {
    int64_t n, length, byte, value;
} keyed_t;

typedef struct {
    const char *numbers, *values, *texts; /* float64, not aligned */
    const unsigned char *counts, *lengths;
    int64_t width, n_values, n_lengths, n_bytes;
} packed_t;

/* A count or a length, which are kept one higher, so that 0 is unknown. */
static inline int64_t sized(const unsigned char *sizes, int64_t width, int64_t i) {
    uint32_t wide;
    if (width == 1) return (int64_t)sizes[i] - 1;
    memcpy(&wide, sizes + 4 * i, sizeof wide);
    return (int64_t)wide - 1;
}

static inline double float_at(const char *floats, int64_t i) {
    double x;
    memcpy(&x, floats + 8 * i, sizeof x);
    return x;
}

/* The parts of a buffer, and in `keyed` (shape->n_keyed) where its keys are. 0 where the buffer is of another shape. */
int packed_open(const shape_t *shape, const char *buffer, int64_t length, packed_t *p, keyed_t *keyed);

/* Whether every number and text of an opened buffer is one that the writer could have written. */
int packed_sound(const shape_t *shape, const char *buffer, const packed_t *p);

/* The value under a key: -inf where a known field lacks it, NaN where the field is unknown. */
double packed_find(const packed_t *p, const keyed_t *field, const char *key, int64_t length);

#endif

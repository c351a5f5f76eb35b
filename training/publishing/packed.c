/* Packed histories read in place, without an object an entry. */
#include "packed.h"
#include "wire.h"

int packed_open(const shape_t *s, const char *buffer, int64_t length, packed_t *p, keyed_t *keyed) {
    uint32_t n_values;
    if (length < HEADER_BYTES || memcmp(buffer, PACKED_MAGIC, MAGIC_BYTES) ||
        memcmp(buffer + MAGIC_BYTES, s->fingerprint, FINGERPRINT_BYTES))
        return 0;
    memcpy(&n_values, buffer + N_VALUES_AT, sizeof n_values);
    p->width = buffer[WIDTH_AT];
    p->n_values = n_values;
    if (p->width != 1 && p->width != 4) return 0;
    int64_t fixed = HEADER_BYTES + 8 * (s->n_numbers + p->n_values) + p->width * s->n_segments;
    if (fixed > length) return 0;
    p->numbers = buffer + HEADER_BYTES;
    p->values = p->numbers + 8 * s->n_numbers;
    p->counts = (const unsigned char *)p->values + 8 * p->n_values;
    p->lengths = p->counts + p->width * s->n_segments;
    int64_t value = 0, place = s->n_texts, n_lengths = s->n_texts;
    for (int64_t i = 0; i < s->n_segments; i++) {
        int64_t n = sized(p->counts, p->width, i), here = n > 0 ? n : 0, slot = s->slots[i];
        if (slot >= 0) {
            keyed[slot].n = n;
            keyed[slot].value = i < s->n_numeric ? value : -1;
            n_lengths += here;
        }
        if (i < s->n_numeric) value += here;
    }
    if (value != p->n_values || fixed + p->width * n_lengths > length) return 0;
    int64_t byte = 0;
    for (int64_t i = 0; i < s->n_texts; i++) {
        int64_t n = sized(p->lengths, p->width, i);
        byte += n > 0 ? n : 0;
    }
    for (int64_t j = 0; j < s->n_keyed; j++) {
        keyed[j].length = place;
        keyed[j].byte = byte;
        for (int64_t i = 0; i < keyed[j].n; i++) {
            int64_t n = sized(p->lengths, p->width, place++);
            if (n < 0) return 0;
            byte += n;
        }
    }
    p->n_lengths = n_lengths;
    p->n_bytes = byte;
    p->texts = (const char *)p->lengths + p->width * n_lengths;
    return fixed + p->width * n_lengths + byte == length;
}

int packed_sound(const shape_t *s, const char *buffer, const packed_t *p) {
    int known = 0;
    for (int64_t i = 0; i < s->n_numbers; i++) {
        double x = float_at(p->numbers, i);
        if (isinf(x)) return 0;
        known |= x == x;
    }
    for (int64_t i = 0; i < p->n_values; i++)
        if (!isfinite(float_at(p->values, i))) return 0;
    for (int64_t i = 0; i < s->n_segments; i++) known |= sized(p->counts, p->width, i) >= 0;
    if (!is_utf8(p->texts, p->n_bytes)) return 0;
    for (int64_t i = 0, byte = 0; i < p->n_lengths; i++) { /* no text may begin within a character */
        int64_t n = sized(p->lengths, p->width, i);
        if (n > 0 && (p->texts[byte] & 0xC0) == 0x80) return 0;
        known |= i < s->n_texts && n >= 0;
        byte += n > 0 ? n : 0;
    }
    return buffer[KNOWN_AT] == known;
}

static inline int equal(const char *a, const char *b, int64_t n) {
    uint64_t x, y;
    if (n >= 8) {
        memcpy(&x, a, 8);
        memcpy(&y, b, 8);
        return x == y && !memcmp(a + 8, b + 8, (size_t)(n - 8));
    }
    for (int64_t i = 0; i < n; i++)
        if (a[i] != b[i]) return 0;
    return 1;
}

double packed_find(const packed_t *p, const keyed_t *f, const char *key, int64_t length) {
    if (f->n < 0) return NAN;
    const char *text = p->texts + f->byte;
    int64_t found = -1;
    for (int64_t i = 0; i < f->n; i++) { /* of equal keys the last: a dictionary's */
        int64_t n = sized(p->lengths, p->width, f->length + i);
        if (n == length && equal(text, key, n)) found = i;
        text += n;
    }
    if (found < 0) return -INFINITY;
    return f->value < 0 ? 1.0 : float_at(p->values, f->value + found);
}

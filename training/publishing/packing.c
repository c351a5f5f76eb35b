/* What was parsed of a history, written in its packed form: fields in the order of the declaration. */
#include <string.h>

#include "histories.h"

static char *put(char *at, const void *bytes, int64_t n) {
    if (n) memcpy(at, bytes, (size_t)n);
    return at + n;
}

/* A count or length, one higher; 0 is unknown. */
static char *put_size(char *at, int64_t width, int64_t n) {
    uint32_t higher = (uint32_t)(n + 1);
    return put(at, &higher, width);
}

static int64_t count_of(const field_t *f) { return f->known ? f->n : -1; }

static int64_t inner_count(const parse_t *p, const field_t *f) {
    int64_t n = 0;
    for (int64_t i = 0; i < f->n; i++) n += p->entries[f->first + i].n_inner;
    return f->known ? n : -1;
}

typedef struct {
    int64_t n_values, n_lengths, n_bytes, widest;
} sizes_t;

static void widen(sizes_t *s, int64_t n) { s->widest = n > s->widest ? n : s->widest; }

static sizes_t measure(const parse_t *p) {
    const history_t *h = p->h;
    sizes_t s = {.n_lengths = h->shape->n_texts};
    for (int64_t j = 0; j < h->n_fields; j++) {
        const field_t *f = p->fields + j;
        if (!f->known) continue;
        widen(&s, f->n);
        widen(&s, f->text.length);
        if (h->kinds[j] == MAP || h->kinds[j] == NESTED) s.n_values += f->n;
        if (h->kinds[j] == NESTED) {
            int64_t n = inner_count(p, f);
            widen(&s, n);
            s.n_values += n;
        }
        s.n_bytes += f->text.length;
    }
    for (int64_t j = 0; j < h->shape->n_keyed; j++) {
        const field_t *f = p->fields + h->keyed[j];
        s.n_lengths += f->n;
        for (int64_t i = f->first; i < f->first + f->n; i++) {
            widen(&s, p->entries[i].key.length);
            s.n_bytes += p->entries[i].key.length;
        }
    }
    return s;
}

static void write_values(const parse_t *p, char *at) {
    const history_t *h = p->h;
    for (int64_t j = 0; j < h->n_maps; j++) {
        const field_t *f = p->fields + h->maps[j];
        for (int64_t i = f->first; i < f->first + f->n; i++) at = put(at, &p->entries[i].value, 8);
    }
    for (int64_t j = 0; j < h->n_nested; j++) {
        const field_t *f = p->fields + h->nested[j];
        for (const entry_t *e = p->entries + f->first; e < p->entries + f->first + f->n; e++)
            at = put(at, p->inner + e->inner, 8 * e->n_inner);
    }
}

static char *write_counts(const parse_t *p, int64_t width, char *at) {
    const history_t *h = p->h;
    for (int64_t j = 0; j < h->n_maps; j++) at = put_size(at, width, count_of(p->fields + h->maps[j]));
    for (int64_t j = 0; j < h->n_nested; j++) at = put_size(at, width, inner_count(p, p->fields + h->nested[j]));
    for (int64_t j = 0; j < h->n_lists; j++) at = put_size(at, width, count_of(p->fields + h->lists[j]));
    return at;
}

static void write_texts(const parse_t *p, int64_t width, char *lengths, char *bytes) {
    const history_t *h = p->h;
    for (int64_t j = 0; j < h->n_fields; j++) {
        if (h->kinds[j] != TEXT) continue;
        const field_t *f = p->fields + j;
        lengths = put_size(lengths, width, f->known ? f->text.length : -1);
        bytes = put(bytes, f->text.bytes, f->text.length);
    }
    for (int64_t j = 0; j < h->shape->n_keyed; j++) {
        const field_t *f = p->fields + h->keyed[j];
        for (const entry_t *e = p->entries + f->first; e < p->entries + f->first + f->n; e++) {
            lengths = put_size(lengths, width, e->key.length);
            bytes = put(bytes, e->key.bytes, e->key.length);
        }
    }
}

object *packed(const parse_t *p) {
    const shape_t *shape = p->h->shape;
    sizes_t s = measure(p);
    int64_t width = s.widest < 255 ? 1 : 4, n_floats = shape->n_numbers + s.n_values;
    int64_t n_sizes = shape->n_segments + s.n_lengths;
    object *bytes = PyBytes_FromStringAndSize(NULL, HEADER_BYTES + 8 * n_floats + width * n_sizes + s.n_bytes);
    if (!bytes) return NULL;
    char *at = PyBytes_AsString(bytes);
    uint32_t n_values = (uint32_t)s.n_values;
    memset(at, 0, HEADER_BYTES);
    memcpy(at, PACKED_MAGIC, MAGIC_BYTES);
    memcpy(at + MAGIC_BYTES, shape->fingerprint, FINGERPRINT_BYTES);
    memcpy(at + AS_OF_AT, &p->as_of, sizeof p->as_of);
    memcpy(at + N_VALUES_AT, &n_values, sizeof n_values);
    at[WIDTH_AT] = (char)width;
    at[KNOWN_AT] = (char)p->known;
    at = put(at + HEADER_BYTES, p->numbers, 8 * shape->n_numbers);
    write_values(p, at);
    at = write_counts(p, width, at + 8 * s.n_values);
    write_texts(p, width, at, at + width * s.n_lengths);
    return bytes;
}

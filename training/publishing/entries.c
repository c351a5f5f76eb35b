/* Entries of a map by key: the first place and the last value of each, as in a dictionary of Python's. */
#include <string.h>

#include "histories.h"

enum { MOST_PROBES = 64 };

uint64_t mark_of(text_t key) {
    uint64_t first = 0, last = 0;
    int64_t n = key.length;
    if (n >= 8) {
        memcpy(&first, key.bytes, 8);
        memcpy(&last, key.bytes + n - 8, 8);
    } else
        for (int64_t i = 0; i < n; i++) first = first << 8 | (unsigned char)key.bytes[i];
    uint64_t x = first * 0x9E3779B97F4A7C15u ^ (last + (uint64_t)n) * 0xC2B2AE3D27D4EB4Fu;
    return x ^ x >> 29;
}

static int same(const entry_t *e, text_t key, uint64_t mark) {
    return e->mark == mark && e->key.length == key.length && !memcmp(e->key.bytes, key.bytes, (size_t)key.length);
}

static int insert(index_t *index, const entry_t *entries, int64_t place) {
    int64_t at = (int64_t)entries[place].mark & index->mask;
    for (int probes = 0; index->places[at] >= 0; at = (at + 1) & index->mask)
        if (++probes > MOST_PROBES) return 0; /* made to collide: a dictionary of Python's is not */
    index->places[at] = (int32_t)place;
    return 1;
}

static int rebuild(index_t *index, const entry_t *entries, int64_t n) {
    index->mask = 4 * n - 1;
    memset(index->places, 0xFF, (size_t)(4 * n) * sizeof *index->places);
    for (int64_t i = 0; i < n; i++)
        if (!insert(index, entries, i)) return 0;
    return 1;
}

entry_t *entry_of(parse_t *p, int64_t first, int level, text_t key) {
    entry_t *entries = p->entries + first;
    index_t *index = &p->index[level];
    uint64_t mark = mark_of(key);
    int64_t n = p->n_entries - first;
    if (n < FEW) {
        for (int64_t i = 0; i < n; i++)
            if (same(entries + i, key, mark)) return entries + i;
    } else {
        if ((n == FEW || 2 * n > index->mask) && !rebuild(index, entries, n)) return NULL;
        int64_t at = (int64_t)mark & index->mask;
        for (; index->places[at] >= 0; at = (at + 1) & index->mask)
            if (same(entries + index->places[at], key, mark)) return entries + index->places[at];
    }
    entries[n] = (entry_t){.key = key, .mark = mark};
    p->n_entries++;
    return n < FEW || insert(index, entries, n) ? entries + n : NULL;
}

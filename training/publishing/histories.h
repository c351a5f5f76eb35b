/* A history on its way from JSON to its packed form: fields, and their entries one behind the other. */
#ifndef PLTV_HISTORIES_H
#define PLTV_HISTORIES_H
#include "packed.h"
#include "stable.h"
#include "wire.h"

enum { NUMBER, TEXT, MAP, NESTED, LIST, AS_OF }; /* as in app/features/histories.py */
enum { FEW = 16 };                               /* entries that are looked through one by one */

/* Fields by number; the tables below it name them in the order in which a packed history has them. */
typedef struct {
    const shape_t *shape;
    int64_t n_fields, n_maps, n_nested, n_lists, n_buckets;
    const char *names;
    const int64_t *name_ends, *kinds, *places, *temporal, *maps, *nested, *lists, *keyed;
    int64_t *buckets; /* field by hash of its name, -1 for none */
} history_t;

typedef struct {
    text_t key;
    uint64_t mark; /* equal for equal keys */
    double value;  /* NaN: dropped */
    int64_t inner, n_inner;
} entry_t;

typedef struct {
    int64_t seen, known, first, n;
    text_t text;
} field_t;

/* Entries of a map by their key, from the seventeenth on. */
typedef struct {
    int32_t *places;
    int64_t mask, n;
} index_t;

typedef struct {
    const history_t *h;
    wire_t w;
    entry_t *entries;
    double *numbers, *inner;
    field_t *fields;
    index_t index[2]; /* one a level */
    int64_t n_entries, n_inner, as_of;
    int known;
} parse_t;

/* Equal for equal texts. */
uint64_t mark_of(text_t key);

/* The entry of a key in the map that began at `first`; a new one at the end where it has none. NULL: left to Python. */
entry_t *entry_of(parse_t *p, int64_t first, int level, text_t key);

/* Scratch for a text of n bytes, kept from call to call unless it is large: then `memory` is to be freed. 0 where there is
 * none to be had. */
int history_prepare(parse_t *p, const history_t *h, int64_t n, char **memory);

/* Parse a history's own object. A field that comes twice is left to Python. */
int history_object(parse_t *p);

/* What was parsed, packed, as a new bytes object. */
object *packed(const parse_t *p);

#endif

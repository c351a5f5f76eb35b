/* A history as it stands in a request's JSON becomes its packed form, without an object an entry: what validation,
 * app/features/history.parse_history and its packing do to the same bytes, to the last bit. Loaded with the interpreter
 * lock held (ctypes.PyDLL). Whatever is not plainly valid is left to Python, which also words the refusals.
 */
#include "histories.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "features.h"

enum { MOST_LEVELS = 32, KEPT = 1 << 20 };
static const double YEAR_2100 = 4102444800.0; /* app.api.schemas.YEAR_2100 */

static int map(parse_t *p, int level, int nested, int temporal);

/* The outer value of a nested entry: the sum, or the latest, of its inner numbers. NaN: there is nothing to remember. */
static int collapse(parse_t *p, int64_t place, int temporal) {
    int64_t first = p->n_entries, start = p->n_inner;
    if (!map(p, 1, 0, 0)) return 0;
    for (int64_t i = first; i < p->n_entries; i++)
        if (!isnan(p->entries[i].value)) p->inner[p->n_inner++] = p->entries[i].value;
    p->n_entries = first;
    const double *inner = p->inner + start;
    int64_t n = p->n_inner - start;
    double total = temporal ? NAN : n ? canonical(reduce(inner, n)) : 0.0;
    for (int64_t i = 0; temporal && i < n; i++) total = i == 0 || inner[i] > total ? inner[i] : total;
    entry_t *e = p->entries + place;
    e->value = total;
    e->inner = start;
    e->n_inner = n;
    return 1;
}

/* One key with its value, which may be null. */
static int pair(parse_t *p, int64_t first, int level, int nested, int temporal, char between) {
    text_t key;
    entry_t *e;
    if (!wire_text(&p->w, &key) || !taken(&p->w, between) || !(e = entry_of(p, first, level, key))) return 0;
    e->value = NAN;
    if (next(&p->w) == 'n') return wire_null(&p->w);
    if (nested) return collapse(p, e - p->entries, temporal);
    if (!wire_number(&p->w, &e->value)) return 0;
    e->value = canonical(e->value);
    return 1;
}

/* A map as an object or as pairs: its entries, pushed. */
static int map(parse_t *p, int level, int nested, int temporal) {
    int64_t first = p->n_entries;
    int pairs = next(&p->w) == '[';
    char close = pairs ? ']' : '}';
    if (!taken(&p->w, pairs ? '[' : '{')) return 0;
    if (taken(&p->w, close)) return 1;
    do {
        if (pairs && !taken(&p->w, '[')) return 0;
        if (!pair(p, first, level, nested, temporal, pairs ? ',' : ':')) return 0;
        if (pairs && !taken(&p->w, ']')) return 0;
    } while (taken(&p->w, ','));
    return taken(&p->w, close);
}

static int list(parse_t *p) {
    text_t text;
    int64_t first = p->n_entries;
    if (!taken(&p->w, '[')) return 0;
    if (taken(&p->w, ']')) return 1;
    do {
        if (next(&p->w) == 'n') {
            if (!wire_null(&p->w)) return 0;
        } else if (!wire_text(&p->w, &text) || !entry_of(p, first, 0, text)) return 0;
    } while (taken(&p->w, ','));
    return taken(&p->w, ']');
}

static int value_of(parse_t *p, int64_t field) {
    const history_t *h = p->h;
    field_t *f = p->fields + field;
    int64_t kind = h->kinds[field];
    double x;
    if (kind == AS_OF) {
        if (!wire_number(&p->w, &x) || x < 0.0 || x > YEAR_2100) return 0;
        p->as_of = (int64_t)x;
        return 1;
    }
    p->known = f->known = 1;
    if (kind == NUMBER) {
        double *number = p->numbers + h->places[field];
        if (!wire_number(&p->w, number)) return 0;
        *number = canonical(*number);
        return 1;
    }
    if (kind == TEXT) return wire_text(&p->w, &f->text);
    f->first = p->n_entries;
    if (!(kind == LIST ? list(p) : map(p, 0, kind == NESTED, h->temporal[field] == 1))) return 0;
    for (int64_t i = f->first; i < p->n_entries; i++) /* what is null goes, in order */
        if (!isnan(p->entries[i].value)) p->entries[f->first + f->n++] = p->entries[i];
    p->n_entries = f->first + f->n;
    return 1;
}

static int64_t field_of(const history_t *h, text_t name) {
    int64_t at = (int64_t)mark_of(name) & (h->n_buckets - 1), field;
    for (; (field = h->buckets[at]) >= 0; at = (at + 1) & (h->n_buckets - 1)) {
        int64_t start = field ? h->name_ends[field - 1] : 0;
        if (h->name_ends[field] - start == name.length && !memcmp(h->names + start, name.bytes, (size_t)name.length))
            break;
    }
    return field;
}

int history_object(parse_t *p) {
    text_t name;
    if (!taken(&p->w, '{')) return 0;
    if (taken(&p->w, '}')) return 1;
    do {
        if (!wire_text(&p->w, &name) || !taken(&p->w, ':')) return 0;
        int64_t field = field_of(p->h, name);
        if (field < 0) {
            if (!wire_value(&p->w, MOST_LEVELS)) return 0;
            continue;
        }
        if (p->fields[field].seen++) return 0;
        if (!(next(&p->w) == 'n' ? wire_null(&p->w) : value_of(p, field))) return 0;
    } while (taken(&p->w, ','));
    return taken(&p->w, '}');
}

static char *kept;
static int64_t room;

/* A bundle that is replaced takes its scratch with it: called by dlclose. */
__attribute__((destructor)) static void let_go(void) { free(kept); }

int history_prepare(parse_t *p, const history_t *h, int64_t n, char **memory) {
    int64_t n_entries = n / 3 + 2, n_numbers = h->shape->n_numbers, n_places = 4 * (n_entries + FEW); /* "", at least */
    int64_t need = n_entries * (int64_t)(sizeof *p->entries + sizeof *p->inner) + 8 * n_numbers + 8 * n_places +
                   h->n_fields * (int64_t)sizeof *p->fields + n + 8;
    if (need > room && need <= KEPT) {
        free(kept);
        kept = malloc((size_t)need);
        room = kept ? need : 0;
    }
    char *at = need <= room ? kept : malloc((size_t)need);
    *memory = at == kept ? NULL : at;
    if (!at) return 0;
    p->entries = (entry_t *)at;
    p->inner = (double *)(p->entries + n_entries);
    p->numbers = p->inner + n_entries;
    p->fields = (field_t *)(p->numbers + n_numbers);
    p->index[0].places = (int32_t *)(p->fields + h->n_fields);
    p->index[1].places = p->index[0].places + n_places;
    p->w.spare = (char *)(p->index[1].places + n_places);
    memset(p->fields, 0, (size_t)h->n_fields * sizeof *p->fields);
    for (int64_t j = 0; j < n_numbers; j++) p->numbers[j] = NAN;
    return 1;
}

typedef struct {
    const char *start, *end;
} span_t;

/* Parse the object at the end of a path of keys. A path that is not there leaves the span as it was; 0: left to Python. */
static int locate(parse_t *p, object *steps, ssize step, span_t *span) {
    wire_t *w = &p->w;
    object *name = PyTuple_GetItem(steps, step);
    text_t key, wanted = {PyBytes_AsString(name), PyBytes_Size(name)};
    int found = 0;
    if (!taken(w, '{')) return 0;
    if (taken(w, '}')) return 1;
    do {
        const char *spare = w->spare;
        if (!wire_text(w, &key) || w->spare != spare || !taken(w, ':')) return 0; /* a name may be written in escapes */
        int here = key.length == wanted.length && !memcmp(key.bytes, wanted.bytes, (size_t)key.length);
        if (here && found++) return 0;
        if (!here || next(w) != '{') {
            if (!wire_pass(w)) return 0;
        } else if (step + 1 < PyTuple_Size(steps)) {
            if (!locate(p, steps, step + 1, span)) return 0;
        } else {
            span->start = w->at;
            if (!history_object(p)) return 0;
            span->end = w->at;
        }
    } while (taken(w, ','));
    return taken(w, '}');
}

/* The body with something else in the history's place. */
static object *without(const char *body, int64_t length, span_t span, object *stand_in) {
    size_t before = (size_t)(span.start - body), after = (size_t)(body + length - span.end);
    size_t n = (size_t)PyBytes_Size(stand_in);
    object *bare = PyBytes_FromStringAndSize(NULL, (ssize)(before + n + after));
    if (!bare) return NULL;
    char *at = PyBytes_AsString(bare);
    memcpy(at, body, before);
    memcpy(at + before, PyBytes_AsString(stand_in), n);
    memcpy(at + before + n, span.end, after);
    return bare;
}

static object *answer(const parse_t *p, object *bare) {
    object *parts[4] = {bare, bare ? packed(p) : NULL, NONE, p->known ? Py_False : Py_True};
    if (p->as_of != NO_AS_OF) parts[2] = PyLong_FromLongLong(p->as_of);
    else Py_IncRef(NONE);
    object *tuple = parts[1] && parts[2] ? PyTuple_New(4) : NULL;
    Py_IncRef(parts[3]);
    for (ssize i = 0; i < 4; i++) {
        if (tuple) PyTuple_SetItem(tuple, i, parts[i]);
        else if (parts[i]) Py_DecRef(parts[i]);
    }
    return tuple;
}

/* The history at `steps` (a tuple of bytes) of a JSON body: the body with `stand_in` in its place, the packed history, its
 * as_of or None, and whether it is empty. None where there is none, or one that is left to Python; NULL with an error. */
EXPORT object *pltv_history(const history_t *h, object *body, object *steps, object *stand_in) {
    const char *bytes = PyBytes_AsString(body);
    if (!bytes) return NULL;
    int64_t length = PyBytes_Size(body);
    parse_t p = {.h = h, .w = {bytes, bytes + length, NULL}, .as_of = NO_AS_OF};
    span_t span = {NULL, NULL};
    char *large;
    object *found = NULL;
    if (!history_prepare(&p, h, length, &large)) return PyErr_NoMemory();
    if (locate(&p, steps, 0, &span) && span.end) found = answer(&p, without(bytes, length, span, stand_in));
    free(large);
    if (found || PyErr_Occurred()) return found;
    Py_IncRef(NONE);
    return NONE;
}

/* Whether a buffer is a packed history of this shape, as the writer would have written it. */
EXPORT int pltv_sound(const history_t *h, object *buffer, keyed_t *keyed) {
    packed_t p;
    const char *bytes = PyBytes_AsString(buffer);
    if (!bytes) return PyErr_Clear(), 0;
    return packed_open(h->shape, bytes, PyBytes_Size(buffer), &p, keyed) && packed_sound(h->shape, bytes, &p);
}

/* Fill h->buckets. Once, before anything is parsed. */
EXPORT void pltv_history_names(const history_t *h) {
    for (int64_t i = 0; i < h->n_buckets; i++) h->buckets[i] = -1;
    for (int64_t field = 0, start = 0; field < h->n_fields; start = h->name_ends[field++]) {
        text_t name = {h->names + start, h->name_ends[field] - start};
        int64_t at = (int64_t)mark_of(name) & (h->n_buckets - 1);
        while (h->buckets[at] >= 0) at = (at + 1) & (h->n_buckets - 1);
        h->buckets[at] = field;
    }
}

/* A request's JSON becomes what the service reads of it, in one pass and without an object for anything else: what
 * pydantic's model and app/api/openrtb.Reader do to the same bytes. Where every value has its place is data, a table made
 * by app/features/bids.py. Whatever is not plainly valid is left to Python, which also words the refusals. Loaded with the
 * interpreter lock held (ctypes.PyDLL).
 */
#include <stdlib.h>
#include <string.h>

#include "features.h"
#include "histories.h"

enum { OBJECT, TEXT_VALUE, NUMBER_VALUE, WHOLE, WHOLES, OBJECTS, HISTORY }; /* as in app/features/bids.py */
enum { MOST_PLACES = 256, MOST_SLOTS = 16, MOST_LEVELS = 32, MOST_DIGITS = 10 };

/* node: of the object that has this key; name, length: its bytes in names; child: the node of an object's own keys.
 * A value is handed out at `slot`, in the dictionary of its object under keys[key], and among the columns under
 * keys[column] as memos[memo] has it; -1 for none. least, most: of a number, or of the entries of a list. */
typedef struct {
    int64_t node, name, length, kind, child, slot, key, column, memo, required, least, most;
} place_t;

typedef struct {
    int64_t first, end;
} node_t;

typedef struct {
    int64_t n_places, n_nodes, n_buckets, n_slots;
    const place_t *places; /* those of a node one behind the other */
    node_t *nodes;
    int64_t *buckets; /* place by hash of node and name, -1 for none */
    const char *names;
    object *keys, *memos;
    const history_t *histories;
} bids_t;

typedef struct {
    const bids_t *b;
    parse_t p;
    object *found[MOST_SLOTS], *columns;
    int has_history;
    unsigned char seen[MOST_PLACES];
} bid_t;

static int fields(bid_t *s, int64_t node, object **own);

static int64_t bucket_of(const bids_t *b, int64_t node, text_t name) {
    return (int64_t)(mark_of(name) + (uint64_t)node * 0x9E3779B97F4A7C15u) & (b->n_buckets - 1);
}

static int64_t place_of(const bids_t *b, int64_t node, text_t name) {
    int64_t at = bucket_of(b, node, name), place;
    for (; (place = b->buckets[at]) >= 0; at = (at + 1) & (b->n_buckets - 1)) {
        const place_t *p = b->places + place;
        if (p->node == node && p->length == name.length && !memcmp(b->names + p->name, name.bytes, (size_t)name.length))
            break;
    }
    return place;
}

/* `value`, if it is set, under a key of a dictionary that is made when it is first needed. */
static int put(object **dict, object *key, object *value) {
    if (!*dict && !(*dict = PyDict_New())) return 0;
    return value && !PyDict_SetItem(*dict, key, value);
}

/* Hand a new value out, and forget it. 0 where there is none. */
static int hand_out(bid_t *s, const place_t *place, object **own, object *value) {
    const bids_t *b = s->b;
    int fine = value != NULL;
    if (fine && place->key >= 0) fine = put(own, PyTuple_GetItem(b->keys, place->key), value);
    if (fine && place->column >= 0) {
        object *column = PyTuple_GetItem(b->keys, place->column);
        if (place->memo < 0) fine = put(&s->columns, column, value);
        else {
            object *written = recalled(PyTuple_GetItem(b->memos, place->memo), value);
            fine = put(&s->columns, column, written);
            if (written) Py_DecRef(written);
        }
    }
    if (fine && place->slot >= 0) s->found[place->slot] = value;
    else if (value) Py_DecRef(value);
    return fine;
}

static int is_wanted(const place_t *place) { return place->slot >= 0 || place->key >= 0 || place->column >= 0; }

static int text(bid_t *s, const place_t *place, object **own) {
    text_t text;
    if (!wire_text(&s->p.w, &text)) return 0;
    return !is_wanted(place) || hand_out(s, place, own, PyUnicode_FromStringAndSize(text.bytes, text.length));
}

static int number(bid_t *s, const place_t *place, object **own) {
    double x;
    if (!wire_number(&s->p.w, &x)) return 0;
    if (place->least <= place->most && (x < (double)place->least || x > (double)place->most)) return 0;
    return !is_wanted(place) || hand_out(s, place, own, PyFloat_FromDouble(x));
}

/* A number written without a fraction or an exponent; NULL for any other, and beyond the bounds. */
static object *whole_of(bid_t *s, const place_t *place) {
    wire_t *w = &s->p.w;
    int negative = next(w) == '-';
    const char *first = w->at + negative, *at = first;
    int64_t x = 0;
    for (; *at >= '0' && *at <= '9' && at - first <= MOST_DIGITS; at++) x = 10 * x + (*at - '0');
    int64_t digits = at - first;
    if (!digits || digits > MOST_DIGITS || *at == '.' || (*at | 0x20) == 'e') return NULL;
    if (*first == '0' && (digits > 1 || negative)) return NULL;
    x = negative ? -x : x;
    if (x < place->least || x > place->most) return NULL;
    w->at = at;
    return PyLong_FromLongLong(x);
}

static int whole(bid_t *s, const place_t *place, object **own) { return hand_out(s, place, own, whole_of(s, place)); }

static int append(object *list, object *entry) {
    int fine = entry && !PyList_Append(list, entry);
    if (entry) Py_DecRef(entry);
    return fine;
}

static int wholes(bid_t *s, const place_t *place, object **own) {
    wire_t *w = &s->p.w;
    object *list = PyList_New(0);
    if (!list) return 0;
    int fine = taken(w, '[');
    if (fine && !taken(w, ']')) {
        do fine = append(list, whole_of(s, place));
        while (fine && taken(w, ','));
        fine = fine && taken(w, ']');
    }
    if (fine) return hand_out(s, place, own, list);
    Py_DecRef(list);
    return 0;
}

/* One object of a list: its columns are its own. An entry that nobody wants is only read. */
static int entry(bid_t *s, const place_t *place, object *list) {
    object *outer = s->columns, *kept = NULL;
    s->columns = NULL;
    int fine = fields(s, place->child, &kept);
    object *own = s->columns;
    s->columns = outer;
    if (kept) Py_DecRef(kept);
    if (!fine || !list) {
        if (own) Py_DecRef(own);
        return fine;
    }
    return append(list, own ? own : PyDict_New());
}

static int objects(bid_t *s, const place_t *place, object **own) {
    wire_t *w = &s->p.w;
    object *list = is_wanted(place) ? PyList_New(0) : NULL;
    if (is_wanted(place) && !list) return 0;
    int64_t n = 0;
    int fine = taken(w, '[');
    do fine = fine && n++ < place->most && entry(s, place, list);
    while (fine && taken(w, ','));
    fine = fine && n >= place->least && taken(w, ']');
    if (fine) return !list || hand_out(s, place, own, list);
    if (list) Py_DecRef(list);
    return 0;
}

static int inner(bid_t *s, const place_t *place, object **own) {
    object *kept = NULL;
    int fine = fields(s, place->child, &kept);
    if (fine && kept) return hand_out(s, place, own, kept);
    if (kept) Py_DecRef(kept);
    return fine;
}

static int value(bid_t *s, const place_t *place, object **own) {
    switch (place->kind) {
    case OBJECT: return inner(s, place, own);
    case TEXT_VALUE: return text(s, place, own);
    case NUMBER_VALUE: return number(s, place, own);
    case WHOLE: return whole(s, place, own);
    case WHOLES: return wholes(s, place, own);
    case OBJECTS: return objects(s, place, own);
    default: return s->has_history = history_object(&s->p);
    }
}

/* An object's fields. One that is declared and comes twice is left to Python; null is absent. */
static int fields(bid_t *s, int64_t node, object **own) {
    const bids_t *b = s->b;
    const node_t *n = b->nodes + node;
    wire_t *w = &s->p.w;
    text_t name;
    memset(s->seen + n->first, 0, (size_t)(n->end - n->first));
    if (!taken(w, '{')) return 0;
    if (!taken(w, '}')) {
        do {
            if (!wire_text(w, &name) || !taken(w, ':')) return 0;
            int64_t at = place_of(b, node, name);
            if (at < 0) {
                if (!wire_value(w, MOST_LEVELS)) return 0;
                continue;
            }
            if (s->seen[at]++) return 0;
            if (next(w) == 'n') {
                if (b->places[at].required || !wire_null(w)) return 0;
            } else if (!value(s, b->places + at, own)) return 0;
        } while (taken(w, ','));
        if (!taken(w, '}')) return 0;
    }
    for (int64_t i = n->first; i < n->end; i++)
        if (b->places[i].required && !s->seen[i]) return 0;
    return 1;
}

static object *none(void) {
    Py_IncRef(NONE);
    return NONE;
}

/* The slots in their order, then the columns, the packed history, its as_of, and whether it is empty; None for what there
 * is not. */
static object *answer_of(bid_t *s) {
    const parse_t *p = &s->p;
    int64_t n = s->b->n_slots;
    object *tuple = PyTuple_New(n + 4), *history = s->has_history ? packed(p) : none();
    object *as_of = p->as_of == NO_AS_OF ? none() : PyLong_FromLongLong(p->as_of);
    object *columns = s->columns ? s->columns : PyDict_New(), *empty = p->known ? Py_False : Py_True;
    s->columns = NULL;
    if (!tuple || !history || !as_of || !columns) {
        object *made[] = {tuple, history, as_of, columns};
        for (int i = 0; i < 4; i++)
            if (made[i]) Py_DecRef(made[i]);
        return NULL;
    }
    for (int64_t i = 0; i < n; i++) {
        PyTuple_SetItem(tuple, i, s->found[i] ? s->found[i] : none());
        s->found[i] = NULL;
    }
    PyTuple_SetItem(tuple, n, columns);
    PyTuple_SetItem(tuple, n + 1, history);
    PyTuple_SetItem(tuple, n + 2, as_of);
    Py_IncRef(empty);
    PyTuple_SetItem(tuple, n + 3, empty);
    return tuple;
}

/* What a body holds, as `answer_of` says; None where it is left to Python; NULL with an error. */
EXPORT object *pltv_bid(const bids_t *b, object *body) {
    const char *bytes = PyBytes_AsString(body);
    if (!bytes) return NULL;
    int64_t length = PyBytes_Size(body);
    bid_t s;
    s.b = b;
    s.p = (parse_t){.h = b->histories, .w = {bytes, bytes + length, NULL}, .as_of = NO_AS_OF};
    s.columns = NULL;
    s.has_history = 0;
    memset(s.found, 0, (size_t)b->n_slots * sizeof *s.found);
    char *large;
    object *answer = NULL, *kept = NULL;
    if (!history_prepare(&s.p, b->histories, length, &large)) return PyErr_NoMemory();
    if (fields(&s, 0, &kept) && !next(&s.p.w) && s.p.w.at == s.p.w.end) answer = answer_of(&s);
    free(large);
    for (int64_t i = 0; i < b->n_slots; i++)
        if (s.found[i]) Py_DecRef(s.found[i]);
    if (s.columns) Py_DecRef(s.columns);
    if (kept) Py_DecRef(kept);
    return answer || PyErr_Occurred() ? answer : none();
}

/* Fill b->nodes and b->buckets. Once, before anything is read. 0 where the table is larger than there is room for. */
EXPORT int pltv_bid_names(const bids_t *b) {
    if (b->n_places > MOST_PLACES || b->n_slots > MOST_SLOTS) return 0;
    for (int64_t i = 0; i < b->n_nodes; i++) b->nodes[i] = (node_t){0, 0};
    for (int64_t i = 0; i < b->n_buckets; i++) b->buckets[i] = -1;
    for (int64_t i = 0; i < b->n_places; i++) {
        const place_t *p = b->places + i;
        node_t *n = b->nodes + p->node;
        if (!n->end) n->first = i;
        n->end = i + 1;
        text_t name = {b->names + p->name, p->length};
        int64_t at = bucket_of(b, p->node, name);
        while (b->buckets[at] >= 0) at = (at + 1) & (b->n_buckets - 1);
        b->buckets[at] = i;
    }
    return 1;
}

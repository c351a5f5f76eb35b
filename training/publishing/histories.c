/* A validated history as Python objects becomes canonical numbers: what app/features/history.parse_history does, for the
 * common shapes (maps as dictionaries, no null entries). Loaded with the interpreter lock held (ctypes.PyDLL).
 */
#include <math.h>
#include <string.h>

#include "features.h"
#include "stable.h"

typedef struct {
    int64_t n_numbers, n_maps, n_strings, n_keyed;
    object *number_names, *map_names, *string_names, *one;
    const int64_t *nested, *temporal, *map_slots, *string_slots; /* slot among the keyed fields, -1 for none */
} history_t;

typedef struct {
    double *values; /* room of them */
    int64_t n, room;
} stack_t;

static int push(stack_t *s, double x) {
    if (s->n == s->room) return 0;
    s->values[s->n++] = canonical(x);
    return 1;
}

/* The numbers of one dictionary; 0 where Python must look. With `drop`, null entries are left out. */
static int push_all(stack_t *s, object *map, int drop) {
    object *key, *value;
    ssize at = 0;
    while (PyDict_Next(map, &at, &key, &value)) {
        if (value == NONE) {
            if (drop) continue;
            return 0;
        }
        double x = PyFloat_AsDouble(value);
        if (isnan(x) && drop && !PyErr_Occurred()) continue;
        if (isnan(x) || !push(s, x)) return 0;
    }
    return 1;
}

/* A twice-nested map: all inner numbers, and key -> total as a new dictionary. NULL where Python must look. */
static object *collapse(stack_t *outer, stack_t *inner, object *map, int temporal) {
    object *totals = PyDict_New(), *key, *value;
    ssize at = 0;
    while (totals && PyDict_Next(map, &at, &key, &value)) {
        if (value == NONE) continue;
        int64_t start = inner->n;
        if (!is_a(value, &PyDict_Type) || !push_all(inner, value, 1)) return Py_DecRef(totals), NULL;
        int64_t n = inner->n - start;
        if (!n && temporal) continue;
        double total = n && !temporal ? reduce(inner->values + start, n) : n ? inner->values[start] : 0.0;
        for (int64_t i = start + 1; temporal && i < inner->n; i++)
            total = inner->values[i] > total ? inner->values[i] : total;
        object *number = PyFloat_FromDouble(total);
        int bad = !number || PyDict_SetItem(totals, key, number) || !push(outer, total);
        if (number) Py_DecRef(number);
        if (bad) return Py_DecRef(totals), NULL;
    }
    return totals;
}

/* Distinct texts of a list -> 1.0, as a new dictionary. NULL where Python must look. */
static object *distinct(object *list, object *one) {
    if (!is_a(list, &PyList_Type)) return NULL;
    object *found = PyDict_New();
    for (ssize i = 0, n = PyList_Size(list); found && i < n; i++) {
        object *text = PyList_GetItem(list, i);
        if (text != NONE && PyDict_SetItem(found, text, one)) return Py_DecRef(found), NULL;
    }
    return found;
}

/* Into maps[slot] where the field is keyed; takes the reference. */
static void keep(object *maps, int64_t slot, object *map) {
    if (slot < 0) Py_DecRef(map);
    else PyTuple_SetItem(maps, slot, map);
}

static int fill(const history_t *h, object *raw, object *maps, double *scalars, stack_t *outer, stack_t *inner,
                int64_t *known) {
    double *count = scalars + h->n_numbers, *inner_count = count + h->n_maps;
    for (int64_t j = 0; j < h->n_numbers; j++) {
        object *value = get(raw, PyTuple_GetItem(h->number_names, j));
        scalars[j] = value ? canonical(PyFloat_AsDouble(value)) : NAN;
        *known |= scalars[j] == scalars[j];
    }
    for (int64_t j = 0; j < h->n_maps; j++) {
        object *map = get(raw, PyTuple_GetItem(h->map_names, j));
        int64_t start = outer->n, inner_start = inner->n;
        if (map) {
            if (!is_a(map, &PyDict_Type)) return 0;
            if (h->nested[j]) map = collapse(outer, inner, map, h->temporal[j] == 1);
            else if (push_all(outer, map, 0)) Py_IncRef(map);
            else map = NULL;
            if (!map) return 0;
            keep(maps, h->map_slots[j], map);
            *known = 1;
        }
        *count++ = map ? (double)(outer->n - start) : -1.0;
        if (h->nested[j]) *inner_count++ = map ? (double)(inner->n - inner_start) : -1.0;
    }
    for (int64_t j = 0; j < h->n_strings; j++) {
        object *list = get(raw, PyTuple_GetItem(h->string_names, j)), *found = NULL;
        if (list && !(found = distinct(list, h->one))) return 0;
        *inner_count++ = found ? (double)PyDict_Size(found) : -1.0;
        *known |= found != NULL;
        if (found) keep(maps, h->string_slots[j], found);
    }
    return !PyErr_Occurred();
}

/* The keyed maps of a history as a new tuple, its numbers in `scalars` and `values` (room for 2 * room of them, of which
 * the first *n_values count), and whether anything is known; None where the shape is left to Python; NULL with an error. */
EXPORT object *pltv_history(const history_t *h, object *raw, double *scalars, double *values, int64_t room,
                            int64_t *n_values, int64_t *known) {
    object *maps = PyTuple_New(h->n_keyed);
    if (!maps) return NULL;
    for (int64_t j = 0; j < h->n_keyed; j++) {
        Py_IncRef(NONE);
        PyTuple_SetItem(maps, j, NONE);
    }
    stack_t outer = {values, 0, room}, inner = {values + room, 0, room};
    *known = 0;
    if (!is_a(raw, &PyDict_Type) || !fill(h, raw, maps, scalars, &outer, &inner, known)) {
        Py_DecRef(maps);
        if (PyErr_Occurred()) return NULL;
        Py_IncRef(NONE);
        return NONE;
    }
    memmove(values + outer.n, inner.values, (size_t)inner.n * sizeof *values);
    *n_values = outer.n + inner.n;
    return maps;
}

/* Requests as Python objects become the batch that features.c reads: what app/features/parsing.assemble and the
 * encoders do, without an array a step. Only functions of CPython's stable ABI are called, so that a bundle's library
 * serves every Python from 3.11 on; they are declared here, since a machine that compiles need not have its headers.
 * Loaded with the interpreter lock held (ctypes.PyDLL). Returns 0; 1 where an object is of a kind that is left to
 * Python; -1 with a Python error set.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "features.h"
#include "stable.h"

typedef struct {
    int64_t n_request_numbers, n_request_texts, n_user_numbers, n_cohort_keys;
    object *request_numbers, *request_texts, *campaign_numbers, *campaign_texts, *user_lookup_keys, *row_lookup_keys,
        *hours, *weekdays, *user_memos, *row_memos, *parsed_memos, *cohort_memos, *unknown;
    const int64_t *user_lookup_slots, *user_lookup_clock, *row_lookup_slots, *user_columns, *row_columns,
        *parsed_columns, *cohort_of_user, *cohort_columns, *cohort_sizes, *cohort, *user_missing, *row_missing,
        *user_unseen, *row_unseen;
} objects_t;

enum { FINE = 0, LEAVE = 1, FAILED = -1 };
enum { OF_HOUR = 1, OF_WEEKDAY = 2 };

typedef struct {
    object *request, *campaigns, *history, *maps, *texts;
} user_t;

static double number(object *value) { return value ? canonical(PyFloat_AsDouble(value)) : NAN; }

/* app.features.parsing._find */
static double find(object *maps, int64_t slot, object *key) {
    object *map = PyTuple_GetItem(maps, slot);
    if (!map || map == NONE || !key) return NAN;
    object *value = PyDict_GetItemWithError(map, key);
    return value ? canonical(PyFloat_AsDouble(value)) : -INFINITY;
}

/* memos[i][text]: a dictionary that computes what it lacks (app.features.twin.Memo). */
static int64_t remembered(object *memos, int64_t i, object *text, int64_t missing) {
    if (!text) return missing;
    object *value = PyObject_GetItem(PyTuple_GetItem(memos, i), text);
    if (!value) return missing;
    int64_t found = PyLong_AsLongLong(value);
    Py_DecRef(value);
    return found;
}

static double remembered_number(object *memos, int64_t i, object *text) {
    if (!text) return NAN;
    object *value = PyObject_GetItem(PyTuple_GetItem(memos, i), text);
    if (!value) return NAN;
    double found = PyFloat_AsDouble(value);
    Py_DecRef(value);
    return found;
}

static object *user_text(const objects_t *o, const user_t *u, int64_t column) {
    if (column < o->n_request_texts) return get(u->request, PyTuple_GetItem(o->request_texts, column));
    object *text = PyTuple_GetItem(u->texts, column - o->n_request_texts);
    return text == NONE ? NULL : text;
}

static object *lookup_key(const objects_t *o, const user_t *u, int64_t j, int64_t hours) {
    if (o->user_lookup_clock[j] == OF_HOUR) return PyTuple_GetItem(o->hours, hours % 24);
    if (o->user_lookup_clock[j] == OF_WEEKDAY) return PyTuple_GetItem(o->weekdays, (hours / 24 + 3) % 7);
    return get(u->request, PyTuple_GetItem(o->user_lookup_keys, j));
}

/* A borrowed attribute of a slotted object that outlives this call. */
static object *attribute(object *owner, const char *name) {
    object *value = PyObject_GetAttrString(owner, name);
    if (value) Py_DecRef(value);
    return value;
}

static double attribute_number(object *owner, const char *name) {
    object *value = attribute(owner, name);
    return value ? PyFloat_AsDouble(value) : NAN;
}

static int open_user(const objects_t *o, object *raw, user_t *u) {
    u->request = attribute(raw, "request");
    u->campaigns = attribute(raw, "campaigns");
    u->history = attribute(raw, "history");
    if (!u->request || !u->campaigns || !u->history) return FAILED;
    if (u->history == NONE) u->history = o->unknown;
    u->maps = attribute(u->history, "maps");
    u->texts = attribute(u->history, "texts");
    if (!u->maps || !u->texts) return FAILED;
    return is_a(u->request, &PyDict_Type) ? FINE : LEAVE;
}

/* Where the next user and row are written. */
typedef struct {
    int64_t *owner, *state, *counts, *user_rows, *row_rows, *cohort;
    double *now, *numbers, *parsed, *user_lookups, *campaign_numbers, *row_lookups;
} cursor_t;

static int fill_user(const plan_t *p, const objects_t *o, const user_t *u, object *raw, cursor_t *at, int64_t *unseen) {
    double now = *at->now++ = attribute_number(raw, "now");
    *at->state++ = (int64_t)attribute_number(raw, "state");
    for (int64_t j = 0; j < o->n_request_numbers; j++)
        *at->numbers++ = number(get(u->request, PyTuple_GetItem(o->request_numbers, j)));
    buffer scalars;
    object *array = attribute(u->history, "scalars");
    if (!array || PyObject_GetBuffer(array, &scalars, 0)) return FAILED;
    const double *scalar = scalars.buf;
    memcpy(at->numbers, scalar, (size_t)o->n_user_numbers * sizeof *scalar);
    at->numbers += o->n_user_numbers;
    for (int64_t j = 0; j < p->n_segments; j++) *at->counts++ = (int64_t)scalar[o->n_user_numbers + j];
    PyBuffer_Release(&scalars);
    for (int64_t j = 0; j < p->n_versions + p->n_months; j++)
        *at->parsed++ = remembered_number(o->parsed_memos, j, user_text(o, u, o->parsed_columns[j]));
    for (int64_t j = 0; j < p->n_user_lookups; j++)
        *at->user_lookups++ = find(u->maps, o->user_lookup_slots[j], lookup_key(o, u, j, (int64_t)now / 3600));
    for (int64_t j = 0; j < p->n_user_encoded; j++) {
        int64_t row = remembered(o->user_memos, j, user_text(o, u, o->user_columns[j]), o->user_missing[j]);
        unseen[j] += row == o->user_unseen[j];
        *at->user_rows++ = row;
    }
    return PyErr_Occurred() ? FAILED : FINE;
}

static int fill_row(const plan_t *p, const objects_t *o, const user_t *u, object *campaign, cursor_t *at,
                    int64_t *unseen) {
    if (!is_a(campaign, &PyDict_Type)) return LEAVE;
    for (int64_t j = 0; j < p->n_campaign_numbers; j++)
        *at->campaign_numbers++ = number(get(campaign, PyTuple_GetItem(o->campaign_numbers, j)));
    for (int64_t j = 0; j < p->n_row_lookups; j++)
        *at->row_lookups++ =
            find(u->maps, o->row_lookup_slots[j], get(campaign, PyTuple_GetItem(o->row_lookup_keys, j)));
    for (int64_t j = 0; j < p->n_row_encoded; j++) {
        object *text = get(campaign, PyTuple_GetItem(o->campaign_texts, o->row_columns[j]));
        int64_t row = remembered(o->row_memos, j, text, o->row_missing[j]);
        unseen[j] += row == o->row_unseen[j];
        *at->row_rows++ = row;
    }
    int64_t index = 0;
    for (int64_t j = 0; j < o->n_cohort_keys; j++) {
        object *text = o->cohort_of_user[j] ? user_text(o, u, o->cohort_columns[j])
                                            : get(campaign, PyTuple_GetItem(o->campaign_texts, o->cohort_columns[j]));
        index = index * o->cohort_sizes[j] + remembered(o->cohort_memos, j, text, 0);
    }
    if (PyErr_Occurred()) return FAILED;
    *at->cohort++ = o->n_cohort_keys ? o->cohort[index] : 0;
    return FINE;
}

/* The values of all users one behind the other; *total is their number. NULL with an error set. */
static double *gather_values(const objects_t *o, object *requests, int64_t n_users, int64_t *total) {
    double *values = NULL;
    int64_t room = 0;
    *total = 0;
    for (int64_t i = 0; i < n_users; i++) {
        buffer view;
        object *history = attribute(PyList_GetItem(requests, i), "history");
        object *array = history ? attribute(history == NONE ? o->unknown : history, "values") : NULL;
        if (!array || PyObject_GetBuffer(array, &view, 0)) return free(values), NULL;
        int64_t n = view.len / (ssize)sizeof *values;
        if (!values || *total + n > room) {
            double *more = realloc(values, (size_t)(room = 2 * (*total + n) + 64) * sizeof *values);
            if (!more) return PyBuffer_Release(&view), free(values), (double *)PyErr_NoMemory();
            values = more;
        }
        memcpy(values + *total, view.buf, (size_t)view.len);
        *total += n;
        PyBuffer_Release(&view);
    }
    return values;
}

/* Features of `requests`, a list of RawRequest with n_rows campaigns in all.
 * x: (n_rows, n_features); row_state: (n_rows,); unseen: a count for each user-encoded, then each row-encoded column. */
EXPORT int pltv_requests(const plan_t *p, const objects_t *o, object *requests, int64_t n_rows, double *x,
                         int64_t *row_state, int64_t *unseen) {
    int64_t n_users = PyList_Size(requests), total, row = 0, status = FINE;
    int64_t user_integers = 1 + p->n_segments + p->n_user_encoded, row_integers = 2 + p->n_row_encoded;
    int64_t user_doubles = 1 + p->n_numbers + p->n_versions + p->n_months + p->n_user_lookups;
    int64_t row_doubles = p->n_campaign_numbers + p->n_row_lookups;
    int64_t n_cells = n_users * (user_integers + user_doubles) + n_rows * (row_integers + row_doubles);
    double *values = gather_values(o, requests, n_users, &total), *memory = malloc((size_t)(n_cells + 1) * 8);
    if (!values || !memory) {
        if (values) PyErr_NoMemory();
        return free(values), free(memory), FAILED;
    }
    cursor_t at;
    batch_t b = {.n_users = n_users, .n_rows = n_rows, .values = values, .x = x, .now_stride = 1};
    b.now = at.now = memory;
    b.numbers = at.numbers = at.now + n_users;
    b.parsed = at.parsed = at.numbers + n_users * p->n_numbers;
    b.user_lookups = at.user_lookups = at.parsed + n_users * (p->n_versions + p->n_months);
    b.campaign_numbers = at.campaign_numbers = at.user_lookups + n_users * p->n_user_lookups;
    b.row_lookups = at.row_lookups = at.campaign_numbers + n_rows * p->n_campaign_numbers;
    b.owner = at.owner = (int64_t *)(at.row_lookups + n_rows * p->n_row_lookups);
    b.cohort = at.cohort = at.owner + n_rows;
    b.row_rows = at.row_rows = at.cohort + n_rows;
    b.state = at.state = at.row_rows + n_rows * p->n_row_encoded;
    b.counts = at.counts = at.state + n_users;
    b.user_rows = at.user_rows = at.counts + n_users * p->n_segments;
    b.numbers_stride = p->n_numbers;
    b.user_lookups_stride = p->n_user_lookups;
    b.campaign_numbers_stride = p->n_campaign_numbers;
    b.row_lookups_stride = p->n_row_lookups;
    for (int64_t i = 0; i < n_users && status == FINE; i++) {
        object *raw = PyList_GetItem(requests, i);
        user_t u;
        status = open_user(o, raw, &u);
        if (status == FINE) status = fill_user(p, o, &u, raw, &at, unseen);
        int64_t n = status == FINE ? PyList_Size(u.campaigns) : 0;
        if (n < 0 || row + n > n_rows) status = FAILED;
        for (int64_t j = 0; j < n && status == FINE; j++, row++) {
            *at.owner++ = i;
            row_state[row] = at.state[-1];
            status = fill_row(p, o, &u, PyList_GetItem(u.campaigns, j), &at, unseen + p->n_user_encoded);
        }
    }
    if (status == FINE && pltv_features(p, &b)) PyErr_NoMemory(), status = FAILED;
    free(values);
    free(memory);
    return (int)status;
}

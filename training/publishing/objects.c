/* Requests as Python objects become the batch that features.c reads: what app/features/parsing.assemble and the
 * encoders do, without an array a step. Histories are read in their packed form. Only functions of CPython's stable ABI
 * are called, so that a bundle's library serves every Python from 3.11 on. Loaded with the interpreter lock held
 * (ctypes.PyDLL). Returns 0; 1 where an object is of a kind that is left to Python; -1 with a Python error set.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "features.h"
#include "packed.h"
#include "stable.h"

typedef struct {
    int64_t n_request_numbers, n_request_texts, n_cohort_keys;
    object *attributes, *request_numbers, *request_texts, *campaign_numbers, *campaign_texts, *user_lookup_keys,
        *row_lookup_keys, *hours, *weekdays, *user_memos, *row_memos, *parsed_memos, *cohort_memos, *unknown;
    const int64_t *user_lookup_slots, *user_lookup_clock, *row_lookup_slots, *user_columns, *row_columns,
        *parsed_columns, *cohort_of_user, *cohort_columns, *cohort_sizes, *cohort, *user_missing, *row_missing,
        *user_unseen, *row_unseen;
    const shape_t *shape;
} objects_t;

enum { FINE = 0, LEAVE = 1, FAILED = -1 };
enum { OF_HOUR = 1 }; /* else of the weekday */
enum { NOW, STATE, REQUEST, CAMPAIGNS, HISTORY, PACKED }; /* places in objects_t.attributes */

typedef struct {
    object *raw, *request, *campaigns;
    packed_t history;
    keyed_t *keyed;  /* one a keyed field */
    object **texts;  /* the history's own; NULL is unknown */
} user_t;

static double number(object *value) { return value ? canonical(PyFloat_AsDouble(value)) : NAN; }

/* A text that is looked up: several look-ups in a row have the same, which is asked for once. */
typedef struct {
    object *name, *of; /* the column, and whose it was */
    object *value;
    const char *text;
    ssize length;
} sought_t;

static void use_text(sought_t *k, object *value) {
    k->value = value;
    k->text = value ? PyUnicode_AsUTF8AndSize(value, &k->length) : NULL;
    if (value && !k->text) PyErr_Clear(); /* no text, or none that JSON can hold: it is nobody's key */
}

/* The text of a column of `dict`, the request's or a campaign's. */
static void use_column(sought_t *k, object *dict, object *name) {
    if (k->name == name && k->of == dict) return;
    k->name = name;
    k->of = dict;
    use_text(k, get(dict, name));
}

/* app.features.parsing._find */
static double find(const user_t *u, int64_t slot, const sought_t *k) {
    if (k->text) return packed_find(&u->history, u->keyed + slot, k->text, k->length);
    return !k->value || u->keyed[slot].n < 0 ? NAN : -INFINITY;
}

static int64_t remembered(object *memos, int64_t i, object *text, int64_t missing) {
    object *value = text && !PyErr_Occurred() ? recalled(PyTuple_GetItem(memos, i), text) : NULL;
    if (!value) return missing;
    int64_t found = PyLong_AsLongLong(value);
    Py_DecRef(value);
    return found;
}

static double remembered_number(object *memos, int64_t i, object *text) {
    object *value = text && !PyErr_Occurred() ? recalled(PyTuple_GetItem(memos, i), text) : NULL;
    if (!value) return NAN;
    double found = PyFloat_AsDouble(value);
    Py_DecRef(value);
    return found;
}

static object *user_text(const objects_t *o, const user_t *u, int64_t column) {
    if (column < o->n_request_texts) return get(u->request, PyTuple_GetItem(o->request_texts, column));
    return u->texts[column - o->n_request_texts];
}

static void use_lookup(const objects_t *o, const user_t *u, int64_t j, int64_t hours, sought_t *k) {
    if (o->user_lookup_clock[j]) {
        k->name = NULL;
        use_text(k, o->user_lookup_clock[j] == OF_HOUR ? PyTuple_GetItem(o->hours, in_cycle(hours, 24))
                                                       : PyTuple_GetItem(o->weekdays, in_cycle(hours + 72, 168) / 24));
    } else use_column(k, u->request, PyTuple_GetItem(o->user_lookup_keys, j));
}

/* A borrowed attribute of a slotted object that outlives this call. */
static object *attribute(const objects_t *o, object *owner, int name) {
    object *value = PyObject_GetAttr(owner, PyTuple_GetItem(o->attributes, name));
    if (value) Py_DecRef(value);
    return value;
}

static double attribute_number(const objects_t *o, object *owner, int name) {
    object *value = attribute(o, owner, name);
    return value ? PyFloat_AsDouble(value) : NAN;
}

/* The packed history of a request, borrowed: its bytes and their number. NULL with an error set. */
static const char *packed_history(const objects_t *o, object *raw, int64_t *length) {
    object *history = attribute(o, raw, HISTORY);
    object *packed = history ? attribute(o, history == NONE ? o->unknown : history, PACKED) : NULL;
    const char *bytes = packed ? PyBytes_AsString(packed) : NULL;
    if (bytes) *length = PyBytes_Size(packed);
    return bytes;
}

static void forget_texts(const objects_t *o, user_t *u) {
    for (int64_t j = 0; j < o->shape->n_texts; j++) {
        if (u->texts[j]) Py_DecRef(u->texts[j]);
        u->texts[j] = NULL;
    }
}

static int read_texts(const objects_t *o, user_t *u) {
    const char *at = u->history.texts;
    for (int64_t j = 0; j < o->shape->n_texts; j++) {
        int64_t n = sized(u->history.lengths, u->history.width, j);
        if (n < 0) continue;
        if (!(u->texts[j] = PyUnicode_FromStringAndSize(at, n))) return FAILED;
        at += n;
    }
    return FINE;
}

static int open_user(const objects_t *o, object *raw, user_t *u) {
    int64_t length;
    forget_texts(o, u);
    u->raw = raw;
    u->request = attribute(o, raw, REQUEST);
    u->campaigns = attribute(o, raw, CAMPAIGNS);
    const char *packed = packed_history(o, raw, &length);
    if (!u->request || !u->campaigns || !packed) return FAILED;
    if (!is_a(u->request, &PyDict_Type)) return LEAVE;
    if (!packed_open(o->shape, packed, length, &u->history, u->keyed)) return LEAVE; /* Python says what is wrong */
    return read_texts(o, u);
}

/* Where the next user and row are written. */
typedef struct {
    int64_t *owner, *state, *counts, *user_rows, *row_rows, *cohort;
    double *now, *numbers, *parsed, *values, *user_lookups, *campaign_numbers, *row_lookups;
} cursor_t;

static int fill_user(const plan_t *p, const objects_t *o, const user_t *u, cursor_t *at, int64_t *unseen) {
    const packed_t *history = &u->history;
    double now = *at->now++ = attribute_number(o, u->raw, NOW);
    *at->state++ = (int64_t)attribute_number(o, u->raw, STATE);
    for (int64_t j = 0; j < o->n_request_numbers; j++)
        *at->numbers++ = number(get(u->request, PyTuple_GetItem(o->request_numbers, j)));
    if (PyErr_Occurred()) return FAILED;
    for (int64_t j = 0; j < o->shape->n_numbers; j++) *at->numbers++ = float_at(history->numbers, j);
    for (int64_t j = 0; j < p->n_segments; j++) *at->counts++ = sized(history->counts, history->width, j);
    memcpy(at->values, history->values, (size_t)history->n_values * sizeof *at->values);
    at->values += history->n_values;
    for (int64_t j = 0; j < p->n_versions + p->n_months; j++)
        *at->parsed++ = remembered_number(o->parsed_memos, j, user_text(o, u, o->parsed_columns[j]));
    sought_t key = {NULL, NULL, NULL, NULL, 0};
    for (int64_t j = 0; j < p->n_user_lookups; j++) {
        use_lookup(o, u, j, hours_of(now), &key);
        *at->user_lookups++ = find(u, o->user_lookup_slots[j], &key);
    }
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
    if (PyErr_Occurred()) return FAILED;
    sought_t key = {NULL, NULL, NULL, NULL, 0};
    for (int64_t j = 0; j < p->n_row_lookups; j++) {
        use_column(&key, campaign, PyTuple_GetItem(o->row_lookup_keys, j));
        *at->row_lookups++ = find(u, o->row_lookup_slots[j], &key);
    }
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

/* How many values the histories of all users have together; -1 with an error set. */
static int64_t count_values(const objects_t *o, object *requests, int64_t n_users) {
    int64_t total = 0, length;
    for (int64_t i = 0; i < n_users; i++) {
        const char *packed = packed_history(o, PyList_GetItem(requests, i), &length);
        uint32_t n_values = 0;
        if (!packed) return -1;
        if (length >= HEADER_BYTES) memcpy(&n_values, packed + N_VALUES_AT, sizeof n_values);
        total += 8 * (int64_t)n_values <= length ? n_values : 0; /* else it is refused when it is opened */
    }
    return total;
}

/* Features of `requests`, a list of RawRequest with n_rows campaigns in all.
 * x: (n_rows, n_features); row_state: (n_rows,); unseen: a count for each user-encoded, then each row-encoded column. */
EXPORT int pltv_requests(const plan_t *p, const objects_t *o, object *requests, int64_t n_rows, double *x,
                         int64_t *row_state, int64_t *unseen) {
    int64_t n_users = PyList_Size(requests), row = 0, status = FINE, n_values = count_values(o, requests, n_users);
    int64_t user_integers = 1 + p->n_segments + p->n_user_encoded, row_integers = 2 + p->n_row_encoded;
    int64_t user_doubles = 1 + p->n_numbers + p->n_versions + p->n_months + p->n_user_lookups;
    int64_t row_doubles = p->n_campaign_numbers + p->n_row_lookups;
    int64_t n_cells = n_users * (user_integers + user_doubles) + n_rows * (row_integers + row_doubles) + n_values;
    if (n_values < 0) return FAILED;
    size_t aside = (size_t)o->shape->n_texts * sizeof(object *) + (size_t)o->shape->n_keyed * sizeof(keyed_t);
    double *memory = malloc((size_t)n_cells * sizeof *memory + aside + 1);
    if (!memory) return PyErr_NoMemory(), FAILED;
    cursor_t at;
    batch_t b = {.n_users = n_users, .n_rows = n_rows, .x = x, .now_stride = 1};
    b.values = at.values = memory;
    b.now = at.now = at.values + n_values;
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
    user_t u = {.keyed = (keyed_t *)(memory + n_cells)};
    u.texts = (object **)(u.keyed + o->shape->n_keyed);
    memset(u.texts, 0, (size_t)o->shape->n_texts * sizeof *u.texts);
    for (int64_t i = 0; i < n_users && status == FINE; i++) {
        status = open_user(o, PyList_GetItem(requests, i), &u);
        if (status == FINE) status = fill_user(p, o, &u, &at, unseen);
        int64_t n = status == FINE ? PyList_Size(u.campaigns) : 0;
        if (n < 0 || row + n > n_rows) status = FAILED;
        for (int64_t j = 0; j < n && status == FINE; j++, row++) {
            *at.owner++ = i;
            row_state[row] = at.state[-1];
            status = fill_row(p, o, &u, PyList_GetItem(u.campaigns, j), &at, unseen + p->n_user_encoded);
        }
    }
    forget_texts(o, &u);
    if (status == FINE && row != n_rows) status = LEAVE; /* a row that is lacking must not be read */
    if (status == FINE && pltv_features(p, &b)) PyErr_NoMemory(), status = FAILED;
    free(memory);
    return (int)status;
}

/* The part of CPython's stable ABI that the feature plan's C files call, declared here because a machine that compiles
 * need not have Python's headers. Present and unchanged since 3.11. */
#ifndef PLTV_STABLE_H
#define PLTV_STABLE_H
#include <stdint.h>

typedef struct object object;
typedef intptr_t ssize;
extern object _Py_NoneStruct, _Py_TrueStruct, _Py_FalseStruct, PyDict_Type;
extern object *PyDict_GetItemWithError(object *, object *), *PyObject_GetItem(object *, object *);
extern object *PyObject_GetAttr(object *, object *), *PyObject_Type(object *);
extern object *PyDict_New(void), *PyList_New(ssize), *PyFloat_FromDouble(double);
extern object *PyList_GetItem(object *, ssize), *PyTuple_GetItem(object *, ssize), *PyTuple_New(ssize);
extern object *PyBytes_FromStringAndSize(const char *, ssize), *PyUnicode_FromStringAndSize(const char *, ssize);
extern object *PyLong_FromLongLong(long long), *PyErr_Occurred(void), *PyErr_NoMemory(void);
extern const char *PyUnicode_AsUTF8AndSize(object *, ssize *);
extern char *PyBytes_AsString(object *);
extern ssize PyList_Size(object *), PyTuple_Size(object *), PyBytes_Size(object *);
extern double PyFloat_AsDouble(object *), PyOS_string_to_double(const char *, char **, object *);
extern long long PyLong_AsLongLong(object *);
extern int PyTuple_SetItem(object *, ssize, object *), PyDict_SetItem(object *, object *, object *);
extern int PyList_Append(object *, object *);
extern void PyErr_Clear(void), Py_IncRef(object *), Py_DecRef(object *);

#define NONE (&_Py_NoneStruct)
#define Py_True (&_Py_TrueStruct)
#define Py_False (&_Py_FalseStruct)

static inline int is_a(object *o, object *kind) {
    object *type = PyObject_Type(o);
    Py_DecRef(type);
    return type == kind;
}

/* Borrowed, NULL where the key is absent or None (or an error is set). */
static inline object *get(object *dict, object *key) {
    object *value = PyDict_GetItemWithError(dict, key);
    return value == NONE ? 0 : value;
}

/* memo[text], a new reference: of a dictionary that computes what it lacks (app.features.memo.Memo). Only that is Python
 * code, which must not be run while an error is set; what is known is found without asking the class of the dictionary. */
static inline object *recalled(object *memo, object *text) {
    object *value = PyDict_GetItemWithError(memo, text);
    if (value) Py_IncRef(value);
    else if (!PyErr_Occurred()) value = PyObject_GetItem(memo, text);
    return value;
}

/* app.features.history.canonical */
static inline double canonical(double x) {
    const double largest = 3.4028234663852886e38;
    x = x < -largest ? -largest : x;
    x = x > largest ? largest : x;
    return x + 0.0;
}

#endif

/* What a model wants to be read: its columns, made from Python's tuples. */
#ifndef EDGEXGB_ROWS_COLUMNS_H
#define EDGEXGB_ROWS_COLUMNS_H

#include "rows_words.h"

typedef enum { NUMBER, BOOLEAN, TEXTS, NUMBERS, BOOLEANS, N_KINDS } Kind;

typedef struct {
    double value;
    Py_ssize_t code;
} Category;

typedef struct {
    Kind kind;
    Words texts;         /* of TEXTS */
    Category *numbers;   /* of NUMBERS, sorted by value */
    size_t n_numbers;
    Py_ssize_t codes[2]; /* of BOOLEANS: those of false and true; -1 where there is none */
} Column;

typedef struct {
    PyObject_HEAD
    PyObject *features; /* the tuple whose bytes objects the words point into */
    Column *columns;
    Word *names; /* in the model's order; text is NULL where no plain JSON string can hold it */
    Words sorted; /* the same without those */
    size_t n_columns;
    bool absent_is_missing;
    bool takes_one_row;
} Scanner;

static int compare_categories(const void *left, const void *right)
{
    const double a = ((const Category *)left)->value, b = ((const Category *)right)->value;
    return (a > b) - (a < b);
}

static int fill_texts(Column *column, PyObject *categories)
{
    const Py_ssize_t count = PyTuple_GET_SIZE(categories);
    if ((column->texts.items = allocate((size_t)count, sizeof(Word))) == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        Word word;
        const Status status = read_word(PyTuple_GET_ITEM(categories, i), i, &word);
        if (status == FAILED) {
            return -1;
        }
        if (status == READ) {
            column->texts.items[column->texts.count++] = word;
        }
    }
    qsort(column->texts.items, column->texts.count, sizeof(Word), compare_words);
    return 0;
}

static int fill_numbers(Column *column, PyObject *categories)
{
    const Py_ssize_t count = PyTuple_GET_SIZE(categories);
    if ((column->numbers = allocate((size_t)count, sizeof(Category))) == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        const double value = PyFloat_AsDouble(PyTuple_GET_ITEM(categories, i));
        if (value == -1.0 && PyErr_Occurred()) {
            return -1;
        }
        column->numbers[column->n_numbers++] = (Category){value, i};
    }
    qsort(column->numbers, column->n_numbers, sizeof(Category), compare_categories);
    return 0;
}

static int fill_booleans(Column *column, PyObject *categories)
{
    column->codes[0] = column->codes[1] = -1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(categories); i++) {
        const int truth = PyObject_IsTrue(PyTuple_GET_ITEM(categories, i));
        if (truth < 0) {
            return -1;
        }
        column->codes[truth] = i;
    }
    return 0;
}

/* A feature: (name, kind, categories); see the documentation of `Scanner` in rows.c. */
static int fill_column(Scanner *self, size_t at, PyObject *feature)
{
    Column *column = &self->columns[at];
    PyObject *name, *categories;
    int kind;
    if (!PyTuple_Check(feature)) {
        PyErr_SetString(PyExc_TypeError, "feature: expected a tuple");
        return -1;
    }
    if (!PyArg_ParseTuple(feature, "OiO!", &name, &kind, &PyTuple_Type, &categories)) {
        return -1;
    }
    if (kind < 0 || kind >= N_KINDS) {
        PyErr_Format(PyExc_ValueError, "kind: got %d, expected 0 to %d", kind, N_KINDS - 1);
        return -1;
    }
    column->kind = (Kind)kind;
    Word word;
    const Status status = read_word(name, (Py_ssize_t)at, &word);
    if (status == FAILED) {
        return -1;
    }
    if (status == READ) {
        self->names[at] = word;
        self->sorted.items[self->sorted.count++] = word;
    }
    switch (column->kind) {
    case TEXTS:
        return fill_texts(column, categories);
    case NUMBERS:
        return fill_numbers(column, categories);
    case BOOLEANS:
        return fill_booleans(column, categories);
    default:
        return 0;
    }
}

#endif

/* Requests straight into the float32 matrix: the extension `model._rows`.
 *
 * A scanner reads the bytes of the commonest requests, {"records": [{name: value, ...}, ...]} with
 * or without plain fields beside the rows, a list of rows, or one row, and writes each value where
 * the model wants it. It accepts only what is beyond doubt. Of anything else, be it wrong or merely
 * unusual, it says None, and the general path (container.events, model.features), which knows every
 * error text, reads the same bytes again. So what is accepted here must give the matrix that the
 * general path gives, to the bit; and nothing that the general path refuses may be accepted.
 *
 * A scanner does not change once it is made, so that threads may share one.
 *
 * Every buffer that is scanned ends with a NUL that is not part of it (as a bytes object does). A
 * NUL stands in no JSON token, so a loop over a token's characters ends there by itself.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <float.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "digits.h"

typedef enum { READ, NOT_FOR_ME, FAILED } Status; /* FAILED: a Python exception is set */

/* --- words: names and categories, to be found by their UTF-8 ---------------------------------- */

typedef struct {
    const char *text; /* not ended by NUL */
    size_t size;
    Py_ssize_t code;
} Word;

typedef struct {
    Word *items; /* sorted */
    size_t count;
} Words;

static int compare_words(const void *left, const void *right)
{
    const Word *a = left, *b = right;
    if (a->size != b->size) {
        return a->size < b->size ? -1 : 1;
    }
    return memcmp(a->text, b->text, a->size);
}

/* The word's code, or -1. */
static Py_ssize_t find_word(const Words *words, const char *text, size_t size)
{
    const Word wanted = {text, size, 0};
    size_t low = 0, high = words->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = compare_words(&wanted, &words->items[middle]);
        if (order == 0) {
            return words->items[middle].code;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return -1;
}

/* Whether a JSON string may hold the text as it is, without escapes. */
static bool is_plain(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const unsigned char byte = (unsigned char)text[i];
        if (byte < 0x20 || byte == '"' || byte == '\\') {
            return false;
        }
    }
    return true;
}

/* --- a scanner ---------------------------------------------------------------------------------- */

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

/* Room for `count` items, zeroed; NULL with a MemoryError set. */
static void *allocate(size_t count, size_t size)
{
    void *memory = PyMem_Calloc(count ? count : 1, size);
    if (memory == NULL) {
        PyErr_NoMemory();
    }
    return memory;
}

/* A word in a bytes object, which must outlive it; None is no word. */
static Status read_word(PyObject *item, Py_ssize_t code, Word *word)
{
    char *text;
    Py_ssize_t size;
    if (item == Py_None) {
        return NOT_FOR_ME;
    }
    if (PyBytes_AsStringAndSize(item, &text, &size) < 0) {
        return FAILED;
    }
    *word = (Word){text, (size_t)size, code};
    return is_plain(text, (size_t)size) ? READ : NOT_FOR_ME;
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

/* A feature: (name, kind, categories); see the module's documentation below. */
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

static void scanner_dealloc(Scanner *self)
{
    PyTypeObject *type = Py_TYPE(self);
    for (size_t i = 0; self->columns != NULL && i < self->n_columns; i++) {
        PyMem_Free(self->columns[i].texts.items);
        PyMem_Free(self->columns[i].numbers);
    }
    PyMem_Free(self->columns);
    PyMem_Free(self->names);
    PyMem_Free(self->sorted.items);
    Py_XDECREF(self->features);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyObject *scanner_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"features", "absent_is_missing", "takes_one_row", NULL};
    PyObject *features;
    int absent_is_missing, takes_one_row;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!pp", keywords, &PyTuple_Type, &features,
                                     &absent_is_missing, &takes_one_row)) {
        return NULL;
    }
    Scanner *self = (Scanner *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    const size_t count = (size_t)PyTuple_GET_SIZE(features);
    self->features = Py_NewRef(features);
    self->n_columns = count;
    self->absent_is_missing = absent_is_missing;
    self->takes_one_row = takes_one_row;
    if ((self->columns = allocate(count, sizeof(Column))) == NULL
        || (self->names = allocate(count, sizeof(Word))) == NULL
        || (self->sorted.items = allocate(count, sizeof(Word))) == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (fill_column(self, i, PyTuple_GET_ITEM(features, (Py_ssize_t)i)) < 0) {
            Py_DECREF(self);
            return NULL;
        }
    }
    qsort(self->sorted.items, self->sorted.count, sizeof(Word), compare_words);
    return (PyObject *)self;
}

/* --- numbers ------------------------------------------------------------------------------------ */

#define MAX_DIGITS 19      /* that surely fit 64 bits */
#define MAX_INT_DIGITS 18  /* that surely fit a signed 64 bits */
#define MAX_EXACT_DIGITS 15 /* that surely fit the 53 bits of a double */
#define MAX_POWER 22       /* the largest power of ten that is a double */
#define HUGE_EXPONENT 100000 /* from here on exponents are not counted, but left to Python */

static const double POWERS[MAX_POWER + 1] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
};

typedef struct {
    const char *start, *end; /* the token */
    uint64_t digits;         /* the significant ones, as far as they fit */
    int n_digits;            /* how many there are; MAX_DIGITS + 1 where digits or exponent do not
                              * say the whole of the number, because it is too long */
    int exponent;            /* the value is digits * 10 ** exponent */
    bool is_negative;
    bool is_integer; /* written as one; Python then reads an int, for which -0 is 0 */
} Number;

static bool is_digit(char character)
{
    return character >= '0' && character <= '9';
}

static void add_digit(Number *number, char character)
{
    if (number->digits == 0 && character == '0') {
        return;
    }
    if (number->n_digits >= MAX_DIGITS) {
        number->n_digits = MAX_DIGITS + 1;
        return;
    }
    number->digits = number->digits * 10 + (uint64_t)(character - '0');
    number->n_digits++;
}

/* A JSON number (RFC 8259, section 6); what follows the token is the caller's to look at. */
static Status read_number(const char **at, Number *number)
{
    const char *next = *at;
    *number = (Number){.start = next, .is_integer = true};
    if (*next == '-') {
        number->is_negative = true;
        next++;
    }
    if (!is_digit(*next)) {
        return NOT_FOR_ME;
    }
    if (*next == '0') {
        next++; /* a digit after it is what follows the token, and wrong there */
    } else {
        for (; is_digit(*next); next++) {
            add_digit(number, *next);
        }
    }
    Py_ssize_t after_point = 0;
    if (*next == '.') {
        number->is_integer = false;
        if (!is_digit(*++next)) {
            return NOT_FOR_ME;
        }
        for (; is_digit(*next); next++) {
            add_digit(number, *next);
            after_point++;
        }
    }
    if (*next == 'e' || *next == 'E') {
        number->is_integer = false;
        next++;
        const bool is_negative = *next == '-';
        next += *next == '-' || *next == '+';
        if (!is_digit(*next)) {
            return NOT_FOR_ME;
        }
        for (; is_digit(*next); next++) {
            if (number->exponent < HUGE_EXPONENT) {
                number->exponent = number->exponent * 10 + (*next - '0');
            }
        }
        if (number->exponent >= HUGE_EXPONENT) {
            number->n_digits = MAX_DIGITS + 1;
        }
        number->exponent = is_negative ? -number->exponent : number->exponent;
    }
    if (after_point >= HUGE_EXPONENT) {
        number->n_digits = MAX_DIGITS + 1;
    } else {
        number->exponent -= (int)after_point;
    }
    *at = number->end = next;
    return READ;
}

/* What Python's float() makes of the token. */
static Status to_python_double(const Number *number, double *value)
{
    char *end;
    *value = PyOS_string_to_double(number->start, &end, NULL);
    if (*value == -1.0 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
            return FAILED;
        }
        PyErr_Clear();
        return NOT_FOR_ME;
    }
    return end == number->end ? READ : NOT_FOR_ME;
}

/* The exact number, where a double holds it, or the nearest double to a fraction. */
static Status to_double(const Number *number, double *value)
{
    if (!number->is_integer) {
        return to_python_double(number, value);
    }
    if (number->n_digits > MAX_EXACT_DIGITS) {
        return NOT_FOR_ME;
    }
    *value = (double)number->digits;
    if (number->is_negative && number->digits != 0) {
        *value = -*value;
    }
    return READ;
}

/* A whole number, rounded to float32 once, as the general path does. */
static Status integer_to_float(const Number *number, float *value)
{
    if (number->n_digits > MAX_INT_DIGITS) {
        return NOT_FOR_ME;
    }
    const int64_t magnitude = (int64_t)number->digits;
    *value = (float)(number->is_negative ? -magnitude : magnitude);
    return READ;
}

/* A fraction, rounded to the nearest double and then to float32, as the general path does.
 *
 * Two or three roundings in double come near the number; the nearest double is near it, too. Where
 * all doubles around the first, as far as the two can be apart, round to one float32, that is the
 * answer, since rounding keeps order. Else, about once in 2 ** 25, the exact way decides. With
 * u = 2 ** -53: the first is off by (1 + u) ** 2 - 1 at most, the nearest double by u; the bounds
 * lie at least 8 u - 2 u away.
 */
static Status fraction_to_float(const Number *number, float *value)
{
    const int power = number->exponent;
    if (number->n_digits <= MAX_DIGITS && power >= -MAX_POWER && power <= MAX_POWER) {
        double near = (double)number->digits;
        near = power < 0 ? near / POWERS[-power] : near * POWERS[power];
        if (near < 1e38) {
            const float low = (float)(near * (1.0 - 8.0 * DBL_EPSILON / 2.0));
            const float high = (float)(near * (1.0 + 8.0 * DBL_EPSILON / 2.0));
            if (low == high) {
                *value = number->is_negative ? -low : low;
                return READ;
            }
        }
    }
    double exact;
    const Status status = to_python_double(number, &exact);
    if (status != READ) {
        return status;
    }
    if (!(exact >= -(double)FLT_MAX && exact <= (double)FLT_MAX)) {
        return NOT_FOR_ME;
    }
    *value = (float)exact;
    return READ;
}

/* --- tokens ------------------------------------------------------------------------------------- */

typedef struct {
    const char *at;
    const char *end;
} Cursor;

static void skip_space(Cursor *cursor)
{
    while (*cursor->at == ' ' || *cursor->at == '\n' || *cursor->at == '\r' || *cursor->at == '\t') {
        cursor->at++;
    }
}

/* Whether the character comes next; if so it is passed, and the space after it. */
static bool take(Cursor *cursor, char character)
{
    if (*cursor->at != character) {
        return false;
    }
    cursor->at++;
    skip_space(cursor);
    return true;
}

static bool take_word(Cursor *cursor, const char *word)
{
    const size_t size = strlen(word);
    if (strncmp(cursor->at, word, size) != 0) {
        return false;
    }
    cursor->at += size;
    return true;
}

/* A string without escapes, whose UTF-8 is not checked. The opening quote comes next. */
static Status read_string(Cursor *cursor, const char **text, size_t *size)
{
    const char *start = ++cursor->at, *next = start;
    while (*next != '"') {
        if ((unsigned char)*next < 0x20 || *next == '\\') {
            return NOT_FOR_ME;
        }
        next++;
    }
    *text = start;
    *size = (size_t)(next - start);
    cursor->at = next + 1;
    return READ;
}

/* --- values of a column ------------------------------------------------------------------------- */

static Status code_to_float(Py_ssize_t code, float *value)
{
    *value = (float)code;
    return code < 0 ? NOT_FOR_ME : READ;
}

static Status read_number_value(Cursor *cursor, float *value)
{
    Number number;
    const Status status = read_number(&cursor->at, &number);
    if (status != READ) {
        return status;
    }
    return number.is_integer ? integer_to_float(&number, value) : fraction_to_float(&number, value);
}

/* true, false, 1 or 0; in another form, such as 1.0, they are left to the general path. */
static Status read_boolean_value(Cursor *cursor, float *value)
{
    if (take_word(cursor, "true") || take_word(cursor, "1")) {
        *value = 1.0f;
        return READ;
    }
    *value = 0.0f;
    return take_word(cursor, "false") || take_word(cursor, "0") ? READ : NOT_FOR_ME;
}

static Status read_text_category(const Column *column, Cursor *cursor, float *value)
{
    const char *text;
    size_t size;
    if (*cursor->at != '"' || read_string(cursor, &text, &size) != READ) {
        return NOT_FOR_ME;
    }
    return code_to_float(find_word(&column->texts, text, size), value);
}

static Status read_number_category(const Column *column, Cursor *cursor, float *value)
{
    Number number;
    Category wanted = {0.0, 0};
    Status status = read_number(&cursor->at, &number);
    if (status != READ || (status = to_double(&number, &wanted.value)) != READ) {
        return status;
    }
    const Category *found = bsearch(&wanted, column->numbers, column->n_numbers, sizeof(Category),
                                    compare_categories);
    return code_to_float(found == NULL ? -1 : found->code, value);
}

static Status read_boolean_category(const Column *column, Cursor *cursor, float *value)
{
    if (take_word(cursor, "true")) {
        return code_to_float(column->codes[1], value);
    }
    return take_word(cursor, "false") ? code_to_float(column->codes[0], value) : NOT_FOR_ME;
}

static Status read_value(const Column *column, Cursor *cursor, float *value)
{
    if (take_word(cursor, "null")) {
        *value = (float)Py_NAN;
        return READ;
    }
    switch (column->kind) {
    case NUMBER:
        return read_number_value(cursor, value);
    case BOOLEAN:
        return read_boolean_value(cursor, value);
    case TEXTS:
        return read_text_category(column, cursor, value);
    case NUMBERS:
        return read_number_category(column, cursor, value);
    case BOOLEANS:
        return read_boolean_category(column, cursor, value);
    default:
        Py_UNREACHABLE();
    }
}

/* --- rows --------------------------------------------------------------------------------------- */

typedef struct {
    const Scanner *scanner;
    size_t max_rows;
    float *matrix; /* (n_rows, n_columns), with room for capacity rows */
    size_t n_rows, capacity;
    size_t *seen;  /* for each column the last row (from 1) that had it */
    size_t *order; /* for each place in a row the column that stood there in the row before */
} Rows;

static Status open_rows(Rows *rows, const Scanner *scanner, size_t max_rows)
{
    *rows = (Rows){.scanner = scanner, .max_rows = max_rows};
    rows->seen = allocate(2 * scanner->n_columns, sizeof(size_t));
    if (rows->seen == NULL) {
        return FAILED;
    }
    rows->order = rows->seen + scanner->n_columns;
    for (size_t i = 0; i < scanner->n_columns; i++) {
        rows->order[i] = i;
    }
    return READ;
}

static void close_rows(Rows *rows)
{
    PyMem_Free(rows->seen);
    PyMem_Free(rows->matrix);
}

/* The next row, to be written; NULL with a MemoryError set. */
static float *add_row(Rows *rows)
{
    const size_t row_size = rows->scanner->n_columns * sizeof(float);
    if (rows->n_rows == rows->capacity) {
        const size_t capacity = rows->capacity == 0 ? 1 : rows->capacity * 2;
        if (row_size != 0 && capacity > PY_SSIZE_T_MAX / row_size) {
            PyErr_NoMemory();
            return NULL;
        }
        float *matrix = PyMem_Realloc(rows->matrix, capacity * row_size);
        if (matrix == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        rows->matrix = matrix;
        rows->capacity = capacity;
    }
    return rows->matrix + rows->n_rows++ * rows->scanner->n_columns;
}

/* The column whose name comes next, quotes and all; most rows have the order of the one before. */
static Status read_name(Rows *rows, Cursor *cursor, size_t place, size_t *column)
{
    const Scanner *scanner = rows->scanner;
    if (*cursor->at != '"' || place >= scanner->n_columns) {
        return NOT_FOR_ME;
    }
    const Word *guess = &scanner->names[rows->order[place]];
    const size_t left = (size_t)(cursor->end - cursor->at);
    if (guess->text != NULL && left > guess->size + 1 && cursor->at[guess->size + 1] == '"'
        && memcmp(cursor->at + 1, guess->text, guess->size) == 0) {
        cursor->at += guess->size + 2;
        *column = rows->order[place];
        return READ;
    }
    const char *text;
    size_t size;
    if (read_string(cursor, &text, &size) != READ) {
        return NOT_FOR_ME;
    }
    const Py_ssize_t found = find_word(&scanner->sorted, text, size);
    if (found < 0) {
        return NOT_FOR_ME;
    }
    *column = rows->order[place] = (size_t)found;
    return READ;
}

static void fill_absent(const Rows *rows, float *row)
{
    for (size_t i = 0; i < rows->scanner->n_columns; i++) {
        if (rows->seen[i] != rows->n_rows) {
            row[i] = (float)Py_NAN;
        }
    }
}

/* One record, and the space after it. */
static Status read_row(Rows *rows, Cursor *cursor)
{
    if (!take(cursor, '{') || rows->n_rows == rows->max_rows) {
        return NOT_FOR_ME;
    }
    float *row = add_row(rows);
    if (row == NULL) {
        return FAILED;
    }
    size_t place = 0;
    if (*cursor->at != '}') {
        do {
            size_t column = 0;
            Status status = read_name(rows, cursor, place++, &column);
            if (status != READ) {
                return status;
            }
            skip_space(cursor);
            if (!take(cursor, ':') || rows->seen[column] == rows->n_rows) {
                return NOT_FOR_ME;
            }
            rows->seen[column] = rows->n_rows;
            status = read_value(&rows->scanner->columns[column], cursor, &row[column]);
            if (status != READ) {
                return status;
            }
            skip_space(cursor);
        } while (take(cursor, ','));
    }
    if (!take(cursor, '}')) {
        return NOT_FOR_ME;
    }
    if (place != rows->scanner->n_columns) {
        if (!rows->scanner->absent_is_missing) {
            return NOT_FOR_ME;
        }
        fill_absent(rows, row);
    }
    return READ;
}

/* A list of at least one record, and the space after it. */
static Status read_rows(Rows *rows, Cursor *cursor)
{
    if (!take(cursor, '[')) {
        return NOT_FOR_ME;
    }
    do {
        const Status status = read_row(rows, cursor);
        if (status != READ) {
            return status;
        }
    } while (take(cursor, ','));
    return take(cursor, ']') ? READ : NOT_FOR_ME;
}

/* --- what stands beside the rows ---------------------------------------------------------------- */

static const char *const FIELDS[] = {"id", "replyTo", "deadlineMs", "topK", "threshold"};

enum { N_FIELDS = sizeof FIELDS / sizeof FIELDS[0], RECORDS = N_FIELDS };

/* Which field it is; RECORDS, or -1 for any other. */
static int find_field(const char *text, size_t size)
{
    for (int i = 0; i < N_FIELDS; i++) {
        if (strlen(FIELDS[i]) == size && memcmp(FIELDS[i], text, size) == 0) {
            return i;
        }
    }
    return size == 7 && memcmp("records", text, size) == 0 ? RECORDS : -1;
}

static Status or_failed(PyObject *object, PyObject **value)
{
    *value = object;
    return object == NULL ? FAILED : READ;
}

static Status read_text(Cursor *cursor, PyObject **value)
{
    const char *text;
    size_t size;
    if (read_string(cursor, &text, &size) != READ) {
        return NOT_FOR_ME;
    }
    *value = PyUnicode_DecodeUTF8(text, (Py_ssize_t)size, NULL);
    if (*value == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        return NOT_FOR_ME;
    }
    return *value == NULL ? FAILED : READ;
}

static Status read_python_number(Cursor *cursor, PyObject **value)
{
    Number number;
    const Status status = read_number(&cursor->at, &number);
    if (status != READ) {
        return status;
    }
    if (number.is_integer) {
        if (number.n_digits > MAX_INT_DIGITS) {
            return NOT_FOR_ME;
        }
        const long long magnitude = (long long)number.digits;
        return or_failed(PyLong_FromLongLong(number.is_negative ? -magnitude : magnitude), value);
    }
    double fraction;
    const Status converted = to_python_double(&number, &fraction);
    return converted == READ ? or_failed(PyFloat_FromDouble(fraction), value) : converted;
}

/* A new reference to a text, number, boolean or None. */
static Status read_scalar(Cursor *cursor, PyObject **value)
{
    if (*cursor->at == '"') {
        return read_text(cursor, value);
    }
    if (take_word(cursor, "null")) {
        *value = Py_NewRef(Py_None);
        return READ;
    }
    if (take_word(cursor, "true")) {
        *value = Py_NewRef(Py_True);
        return READ;
    }
    if (take_word(cursor, "false")) {
        *value = Py_NewRef(Py_False);
        return READ;
    }
    return read_python_number(cursor, value);
}

/* One field's value, into the dictionary. */
static Status read_field(Cursor *cursor, int field, PyObject **fields)
{
    PyObject *value = NULL;
    const Status status = read_scalar(cursor, &value);
    if (status != READ) {
        return status;
    }
    if (*fields == NULL && (*fields = PyDict_New()) == NULL) {
        Py_DECREF(value);
        return FAILED;
    }
    const int stored = PyDict_SetItemString(*fields, FIELDS[field], value);
    Py_DECREF(value);
    return stored < 0 ? FAILED : READ;
}

/* {"records": [...]}, and plain fields before or after. The opening brace was passed. */
static Status read_request(Rows *rows, Cursor *cursor, PyObject **fields)
{
    unsigned seen = 0;
    do {
        const char *text;
        size_t size;
        if (*cursor->at != '"' || read_string(cursor, &text, &size) != READ) {
            return NOT_FOR_ME;
        }
        const int field = find_field(text, size);
        skip_space(cursor);
        if (field < 0 || (seen & 1u << field) || !take(cursor, ':')) {
            return NOT_FOR_ME;
        }
        seen |= 1u << field;
        const Status status =
            field == RECORDS ? read_rows(rows, cursor) : read_field(cursor, field, fields);
        if (status != READ) {
            return status;
        }
        skip_space(cursor);
    } while (take(cursor, ','));
    return take(cursor, '}') && (seen & 1u << RECORDS) ? READ : NOT_FOR_ME;
}

/* Whether the object that comes next is a request, by its first key. */
static bool is_request(Cursor cursor)
{
    const char *text;
    size_t size;
    return take(&cursor, '{') && *cursor.at == '"' && read_string(&cursor, &text, &size) == READ
           && find_field(text, size) >= 0;
}

static Status read_event(Rows *rows, Cursor *cursor, PyObject **fields)
{
    Status status;
    skip_space(cursor);
    if (*cursor->at == '[') {
        status = read_rows(rows, cursor);
    } else if (is_request(*cursor)) {
        take(cursor, '{');
        status = read_request(rows, cursor, fields);
    } else {
        status = rows->scanner->takes_one_row ? read_row(rows, cursor) : NOT_FOR_ME;
    }
    return status == READ && cursor->at != cursor->end ? NOT_FOR_ME : status;
}

PyDoc_STRVAR(scan_doc,
             "scan(event, max_rows, /)\n--\n\n"
             "The matrix of an event's rows as bytes, how many rows there are, and what stands\n"
             "beside them (None where nothing does). None where the event is not one of those\n"
             "that are read here.");

static PyObject *scanner_scan(Scanner *self, PyObject *const *args, Py_ssize_t n_args)
{
    if (n_args != 2 || !PyBytes_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "scan: expected bytes and a number of rows");
        return NULL;
    }
    const size_t max_rows = PyLong_AsSize_t(args[1]);
    if (max_rows == (size_t)-1 && PyErr_Occurred()) {
        return NULL;
    }
    const char *text = PyBytes_AS_STRING(args[0]);
    Cursor cursor = {text, text + PyBytes_GET_SIZE(args[0])};
    PyObject *fields = NULL, *result = NULL;
    Rows rows;
    Status status = open_rows(&rows, self, max_rows);
    if (status == READ) {
        status = read_event(&rows, &cursor, &fields);
    }
    if (status == READ) {
        const size_t size = rows.n_rows * self->n_columns * sizeof(float);
        result = Py_BuildValue("y#nO", (const char *)rows.matrix, (Py_ssize_t)size,
                               (Py_ssize_t)rows.n_rows, fields == NULL ? Py_None : fields);
    } else if (status == NOT_FOR_ME) {
        result = Py_NewRef(Py_None);
    }
    close_rows(&rows);
    Py_XDECREF(fields);
    return result;
}

/* --- numbers to text ---------------------------------------------------------------------------- */

typedef struct {
    char *text;
    size_t size, capacity;
} Text;

/* Room for one number, two brackets and a comma; -1 with a MemoryError set. */
static int reserve(Text *text)
{
    if (text->capacity - text->size >= MAX_NUMBER_CHARACTERS + 3) {
        return 0;
    }
    const size_t capacity = text->capacity * 2 + 256;
    char *larger = PyMem_Realloc(text->text, capacity);
    if (larger == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    text->text = larger;
    text->capacity = capacity;
    return 0;
}

static int add_number(Text *text, double value)
{
    if (reserve(text) < 0) {
        return -1;
    }
    const size_t size = write_float32(value, text->text + text->size);
    if (size != 0) {
        text->size += size;
        return 0;
    }
    char *written = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (written == NULL) {
        return -1;
    }
    const size_t length = strlen(written);
    if (!isfinite(value) || length > MAX_NUMBER_CHARACTERS) {
        PyErr_Format(PyExc_ValueError, "number: got %s, expected one that JSON has", written);
        PyMem_Free(written);
        return -1;
    }
    memcpy(text->text + text->size, written, length);
    text->size += length;
    PyMem_Free(written);
    return 0;
}

/* A list of floats, or with `depth` 1 of such lists. */
static int add_list(Text *text, PyObject *list, int depth)
{
    if (reserve(text) < 0) {
        return -1;
    }
    text->text[text->size++] = '[';
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyObject *item = PyList_GET_ITEM(list, i);
        if (i > 0) {
            text->text[text->size++] = ',';
        }
        int status;
        if (PyFloat_CheckExact(item)) {
            status = add_number(text, PyFloat_AS_DOUBLE(item));
        } else if (depth > 0 && PyList_CheckExact(item)) {
            status = add_list(text, item, depth - 1);
        } else {
            PyErr_SetString(PyExc_TypeError, "numbers: expected a list of floats, or of such lists");
            status = -1;
        }
        if (status < 0 || reserve(text) < 0) {
            return -1;
        }
    }
    text->text[text->size++] = ']';
    return 0;
}

PyDoc_STRVAR(write_doc,
             "write_numbers(numbers, /)\n--\n\n"
             "The compact JSON text of a list of finite floats, or of lists of such.");

static PyObject *write_numbers(PyObject *module, PyObject *numbers)
{
    (void)module;
    if (!PyList_CheckExact(numbers)) {
        PyErr_SetString(PyExc_TypeError, "numbers: expected a list of floats, or of such lists");
        return NULL;
    }
    Text text = {NULL, 0, 0};
    PyObject *result = NULL;
    if (add_list(&text, numbers, 1) == 0) {
        result = PyUnicode_DecodeASCII(text.text, (Py_ssize_t)text.size, NULL);
    }
    PyMem_Free(text.text);
    return result;
}

/* --- the module --------------------------------------------------------------------------------- */

static PyMethodDef scanner_methods[] = {
    {"scan", (PyCFunction)(void (*)(void))scanner_scan, METH_FASTCALL, scan_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(scanner_doc,
             "Scanner(features, absent_is_missing, takes_one_row)\n--\n\n"
             "Reads the requests of one model. A feature is (name, kind, categories): its name in\n"
             "UTF-8; a constant of this module; texts in UTF-8, numbers or booleans, in the order\n"
             "of their codes. None instead of a name or a text: what has it is never read here.");

static PyType_Slot scanner_slots[] = {
    {Py_tp_doc, (void *)scanner_doc},
    {Py_tp_new, scanner_new},
    {Py_tp_dealloc, scanner_dealloc},
    {Py_tp_methods, scanner_methods},
    {0, NULL},
};

static PyType_Spec scanner_spec = {
    .name = "model._rows.Scanner",
    .basicsize = sizeof(Scanner),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = scanner_slots,
};

static int module_exec(PyObject *module)
{
    static const char *const kinds[N_KINDS] = {"NUMBER", "BOOLEAN", "TEXTS", "NUMBERS", "BOOLEANS"};
    for (int i = 0; i < N_KINDS; i++) {
        if (PyModule_AddIntConstant(module, kinds[i], i) < 0) {
            return -1;
        }
    }
    PyObject *type = PyType_FromModuleAndSpec(module, &scanner_spec, NULL);
    if (type == NULL) {
        return -1;
    }
    const int status = PyModule_AddObjectRef(module, "Scanner", type);
    Py_DECREF(type);
    return status;
}

static PyMethodDef module_methods[] = {
    {"write_numbers", write_numbers, METH_O, write_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "model._rows",
    .m_doc = "Requests straight into the float32 matrix.",
    .m_methods = module_methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__rows(void)
{
    return PyModuleDef_Init(&module_definition);
}

/* Records, row after row, into a matrix that grows. */
#ifndef EDGEXGB_ROWS_RECORDS_H
#define EDGEXGB_ROWS_RECORDS_H

#include "rows_values.h"

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

#endif

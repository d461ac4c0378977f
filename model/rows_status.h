/* What every reader here says of what it read; and memory as Python counts it. */
#ifndef EDGEXGB_ROWS_STATUS_H
#define EDGEXGB_ROWS_STATUS_H

#include <Python.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum { READ, NOT_FOR_ME, FAILED } Status; /* FAILED: a Python exception is set */

/* Room for `count` items, zeroed; NULL with a MemoryError set. */
static void *allocate(size_t count, size_t size)
{
    void *memory = PyMem_Calloc(count ? count : 1, size);
    if (memory == NULL) {
        PyErr_NoMemory();
    }
    return memory;
}

#endif

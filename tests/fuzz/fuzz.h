/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the targets of libFuzzer share. A target is one function from bytes to 0 that asserts what holds of any
 * bytes; tests/fuzz/meson.build says how one is added.
 */
#pragma once

#include "base/error.h"

/* Of the target: libFuzzer calls it. @data is not terminated, and reading beyond @size is found out. */
int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

/* Returns: (transfer full): the bytes with a NUL after them, for what takes a terminated text. */
char *fuzz_terminate(const guint8 *data, gsize size);

/* Asserts that @error is the condition @code, and that its sentence can be shown: bounded, UTF-8, no control
 * characters, whatever the bytes were. */
void fuzz_check_error(const GError *error, ApmigError code);

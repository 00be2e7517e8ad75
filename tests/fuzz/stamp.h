/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For targets that come by a stamp: whatever it is of, what its host writes is what the next host reads.
 */
#pragma once

#include "guest/xml.h"

#define FUZZ_STAMP_HOST "11111111-1111-4111-8111-111111111111"

/* Returns: (transfer full): a guest without devices whose metadata is these bytes, which may be no XML. */
GString *fuzz_stamp_make_domain(const char *metadata, gsize length);

/* Asserts that @stamp is read again as it is, from the XML that libvirt makes of it in a guest's metadata. Its times are
 * not before 1970, and its texts such as a stamp can have. */
void fuzz_stamp_check_survives(const ApmigStamp *stamp);

/* Asserts that @stamp is read again with its lock. The lock's texts may be any that a lock can have: a stamp's are shorter
 * and have only the characters of XML. */
void fuzz_stamp_check_lock_travels(const ApmigStamp *stamp);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What keeps apmigd from seeing libvirt's guests, and what to do about it.
 */
#pragma once

#include "ctl/doctor.h"

/**
 * ctl_view_remedy:
 * @problem: apmigd's HypervisorProblem
 *
 * apmigd connects read-only, over libvirt-sock-ro or virtqemud-sock-ro: a socket of its own, which some sites close.
 *
 * Returns: (transfer none): what to type or to change
 */
const char *ctl_view_remedy(const char *problem);

/* Whether apmigd sees each guest that runs here by libvirt's pid files: libvirt's access driver hides guests without a word.
 * Only root can tell. */
void ctl_doctor_check_guests(CtlDoctor *doctor);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Runs the verb that @argv names: over many hosts where --hosts or --hosts-file is given, else ctl_main(). Found by its name
 * in the module. Returns: an exit status. */
int hosts_main(int argc, char **argv);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random numbers that are the same for the same seed on every machine: splitmix64 (Steele, Lea, Flood,
 * "Fast splittable pseudorandom number generators", 2014), integers only. One draw in a call's arguments at most: C
 * leaves open which of two comes first, and architectures differ.
 */
#pragma once

#include <glib.h>

typedef struct {
    guint64 state;
} Dice;

static inline guint64
dice_next(Dice *dice)
{
    guint64 z = dice->state += G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * G_GUINT64_CONSTANT(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Returns: a number from @low to @high, both included. */
static inline gint64
dice_roll(Dice *dice, gint64 low, gint64 high)
{
    return low + (gint64)(dice_next(dice) % (guint64)(high - low + 1));
}

static inline gboolean
dice_chance(Dice *dice, guint permille)
{
    return dice_next(dice) % 1000 < permille;
}

/* Returns: a number from @low to @high (both > 0) whose magnitude is what is equally distributed. */
static inline gint64
dice_spread(Dice *dice, gint64 low, gint64 high)
{
    guint bits = (guint)dice_roll(dice, g_bit_storage((gulong)low), g_bit_storage((gulong)high));

    gint64 number = dice_roll(dice, G_GINT64_CONSTANT(1) << (bits - 1), (G_GINT64_CONSTANT(1) << bits) - 1);

    return CLAMP(number, low, high);
}

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stand-in for vfio_ap: the attributes of a mediated device, with the names
 * and formats of Documentation/arch/s390/vfio-ap.rst
 */

#include <linux/device.h>
#include <linux/hex.h>
#include <linux/kstrtox.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "standin.h"

#define MASK_BYTES	(STANDIN_NUMBERS / 8)
#define MASK_CHARS	(2 + 2 * MASK_BYTES)	/* 0x and the digits */

/* A number: hexadecimal with 0x, octal with 0, else decimal. */
static ssize_t change_bit_of(struct standin *standin, unsigned long *bitmap,
			     bool on, const char *buf, size_t count)
{
	unsigned long number;
	int ret;

	ret = kstrtoul(buf, 0, &number);
	if (ret)
		return ret;
	if (number >= STANDIN_NUMBERS)
		return -ENODEV;

	mutex_lock(&standin_lock);
	__assign_bit(number, bitmap, on);
	mutex_unlock(&standin_lock);
	return count;
}

#define CHANGE_ATTR(name_, bitmap_, on_)				\
static ssize_t name_##_store(struct device *dev,			\
			     struct device_attribute *attr,		\
			     const char *buf, size_t count)		\
{									\
	struct standin *standin = dev_get_drvdata(dev);			\
									\
	return change_bit_of(standin, standin->matrix.bitmap_, on_,	\
			     buf, count);				\
}									\
static DEVICE_ATTR_WO(name_)

CHANGE_ATTR(assign_adapter, adapters, true);
CHANGE_ATTR(unassign_adapter, adapters, false);
CHANGE_ATTR(assign_domain, domains, true);
CHANGE_ATTR(unassign_domain, domains, false);
CHANGE_ATTR(assign_control_domain, control_domains, true);
CHANGE_ATTR(unassign_control_domain, control_domains, false);

/* One queue a line. With adapters or domains alone there is none: those. */
static ssize_t emit_matrix(const struct standin_matrix *matrix, char *buf)
{
	bool no_adapters = bitmap_empty(matrix->adapters, STANDIN_NUMBERS);
	bool no_domains = bitmap_empty(matrix->domains, STANDIN_NUMBERS);
	unsigned long adapter, domain;
	int len = 0;

	if (no_adapters) {
		for_each_set_bit(domain, matrix->domains, STANDIN_NUMBERS)
			len += sysfs_emit_at(buf, len, ".%04lx\n", domain);
		return len;
	}
	for_each_set_bit(adapter, matrix->adapters, STANDIN_NUMBERS) {
		if (no_domains)
			len += sysfs_emit_at(buf, len, "%02lx.\n", adapter);
		for_each_set_bit(domain, matrix->domains, STANDIN_NUMBERS)
			len += sysfs_emit_at(buf, len, "%02lx.%04lx\n",
					     adapter, domain);
	}
	return len;
}

static ssize_t matrix_show(struct device *dev, struct device_attribute *attr,
			   char *buf)
{
	struct standin *standin = dev_get_drvdata(dev);
	ssize_t len;

	mutex_lock(&standin_lock);
	len = emit_matrix(&standin->matrix, buf);
	mutex_unlock(&standin_lock);
	return len;
}
static DEVICE_ATTR_RO(matrix);

/* Nothing is filtered: every queue exists. */
static ssize_t guest_matrix_show(struct device *dev,
				 struct device_attribute *attr, char *buf)
{
	return matrix_show(dev, attr, buf);
}
static DEVICE_ATTR_RO(guest_matrix);

static ssize_t control_domains_show(struct device *dev,
				    struct device_attribute *attr, char *buf)
{
	struct standin *standin = dev_get_drvdata(dev);
	unsigned long domain;
	int len = 0;

	mutex_lock(&standin_lock);
	for_each_set_bit(domain, standin->matrix.control_domains,
			 STANDIN_NUMBERS)
		len += sysfs_emit_at(buf, len, "%04lx\n", domain);
	mutex_unlock(&standin_lock);
	return len;
}
static DEVICE_ATTR_RO(control_domains);

/* The AP way of writing a mask: number 0 is the leftmost bit. */
static int emit_mask(const unsigned long *bitmap, char *buf, int at)
{
	u8 mask[MASK_BYTES] = { 0 };
	unsigned long bit;

	for_each_set_bit(bit, bitmap, STANDIN_NUMBERS)
		mask[bit / 8] |= 0x80 >> (bit % 8);
	return sysfs_emit_at(buf, at, "0x%*phN", MASK_BYTES, mask);
}

static int parse_mask(const char *text, unsigned long *bitmap)
{
	u8 mask[MASK_BYTES];
	unsigned int bit;

	if (strncmp(text, "0x", 2) || hex2bin(mask, text + 2, MASK_BYTES))
		return -EINVAL;
	bitmap_zero(bitmap, STANDIN_NUMBERS);
	for (bit = 0; bit < STANDIN_NUMBERS; bit++)
		if (mask[bit / 8] & (0x80 >> (bit % 8)))
			__set_bit(bit, bitmap);
	return 0;
}

static ssize_t ap_config_show(struct device *dev,
			      struct device_attribute *attr, char *buf)
{
	struct standin *standin = dev_get_drvdata(dev);
	struct standin_matrix *matrix = &standin->matrix;
	int len = 0;

	mutex_lock(&standin_lock);
	len += emit_mask(matrix->adapters, buf, len);
	len += sysfs_emit_at(buf, len, ",");
	len += emit_mask(matrix->domains, buf, len);
	len += sysfs_emit_at(buf, len, ",");
	len += emit_mask(matrix->control_domains, buf, len);
	len += sysfs_emit_at(buf, len, "\n");
	mutex_unlock(&standin_lock);
	return len;
}

/* Replaces all three, or nothing. */
static ssize_t ap_config_store(struct device *dev,
			       struct device_attribute *attr, const char *buf,
			       size_t count)
{
	struct standin *standin = dev_get_drvdata(dev);
	size_t len = count && buf[count - 1] == '\n' ? count - 1 : count;
	struct standin_matrix matrix;

	if (len != 3 * MASK_CHARS + 2 || buf[MASK_CHARS] != ',' ||
	    buf[2 * MASK_CHARS + 1] != ',')
		return -EINVAL;
	if (parse_mask(buf, matrix.adapters) ||
	    parse_mask(buf + MASK_CHARS + 1, matrix.domains) ||
	    parse_mask(buf + 2 * (MASK_CHARS + 1), matrix.control_domains))
		return -EINVAL;

	mutex_lock(&standin_lock);
	standin->matrix = matrix;
	mutex_unlock(&standin_lock);
	return count;
}
static DEVICE_ATTR_RW(ap_config);

static struct attribute *standin_mdev_attrs[] = {
	&dev_attr_assign_adapter.attr,
	&dev_attr_unassign_adapter.attr,
	&dev_attr_assign_domain.attr,
	&dev_attr_unassign_domain.attr,
	&dev_attr_assign_control_domain.attr,
	&dev_attr_unassign_control_domain.attr,
	&dev_attr_matrix.attr,
	&dev_attr_guest_matrix.attr,
	&dev_attr_control_domains.attr,
	&dev_attr_ap_config.attr,
	NULL
};

static const struct attribute_group standin_mdev_group = {
	.attrs = standin_mdev_attrs,
};

const struct attribute_group *standin_mdev_groups[] = {
	&standin_mdev_group,
	NULL
};

/* SPDX-License-Identifier: MIT */
/* profile.h - the cost profile as JSON: what doctor prints and saves, what advise --profile reads.
 */
#ifndef ESCA_CLI_PROFILE_H
#define ESCA_CLI_PROFILE_H

#include <stddef.h>

#include <jansson.h>

#include <analyzer/cost.h>

/**
 * struct profile_field - one figure of struct cost, for whoever prints them all.
 * @name: as in the JSON object, which gives ns.
 */
struct profile_field {
	const char *name;
	size_t offset;
	const char *what; /* a few words */
};

/** profile_fields() - the table of figures; *count gets its length. */
const struct profile_field *profile_fields(size_t *count);

/** profile_value() - the figure of @f in @c. */
double profile_value(const struct cost *c, const struct profile_field *f);

/** profile_to_json() - @c as a new JSON object, or NULL without memory. */
json_t *profile_to_json(const struct cost *c);

/**
 * profile_from_json() - fill @c from @json: a profile, or an object that has one under "profile"
 * (esca doctor --json). A missing figure is 0. Return: 0, or -EINVAL and in @why what is wrong.
 */
int profile_from_json(struct cost *c, const json_t *json, char *why, size_t size);

/** profile_load() - the same from the file @path. Return: 0, or negative errno and @why. */
int profile_load(struct cost *c, const char *path, char *why, size_t size);

/** profile_save() - write @c to @path, which is replaced as a whole. Return: 0, or negative errno.
 */
int profile_save(const struct cost *c, const char *path);

#endif

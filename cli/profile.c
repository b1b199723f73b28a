/* SPDX-License-Identifier: MIT */
/* profile.c - the cost profile as JSON: what doctor prints and saves, what advise --profile reads.
 */
#include "config.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cli/output.h>
#include <cli/profile.h>

static const struct profile_field fields[] = {
	{"crossing_ns", offsetof(struct cost, crossing), "one entry into the kernel and back"},
	{"uring_enter_ns", offsetof(struct cost, uring_enter), "io_uring_enter with nothing to do"},
	{"uring_op_ns", offsetof(struct cost, uring_op),
	 "one operation in io_uring, beside its work"},
	{"queue_ns", offsetof(struct cost, queue), "queueing one call"},
	{"copy_kib_ns", offsetof(struct cost, copy_kib), "copying 1 KiB into the queue"},
	{"packet_ns", offsetof(struct cost, packet), "a reply in two packets instead of one"},
	{"sendfile_ns", offsetof(struct cost, sendfile),
	 "sendfile of 1 KiB instead of pread and send"},
	{"sendfile_kib_ns", offsetof(struct cost, sendfile_kib),
	 "copying instead of sendfile, each KiB"},
	{"pread_ns", offsetof(struct cost, pread), "pread of 1 KiB of a cached file"},
	{"sockopt_ns", offsetof(struct cost, sockopt), "a TCP_CORK or TCP_NODELAY"},
	{"log_write_ns", offsetof(struct cost, log_write), "a 100-byte line into a log"},
};

const struct profile_field *profile_fields(size_t *count)
{
	*count = sizeof(fields) / sizeof(fields[0]);
	return fields;
}

static double *field_of(struct cost *c, const struct profile_field *f)
{
	return (double *)((char *)c + f->offset);
}

double profile_value(const struct cost *c, const struct profile_field *f)
{
	return *(const double *)((const char *)c + f->offset);
}

json_t *profile_to_json(const struct cost *c)
{
	json_t *json = json_object();

	for (size_t i = 0; json && i < sizeof(fields) / sizeof(fields[0]); i++)
		json_object_set_new(json, fields[i].name,
				    json_real(round(profile_value(c, &fields[i]) * 10) / 10));
	json_object_set_new(json, "uring", json_boolean(c->uring));
	return json;
}

int profile_from_json(struct cost *c, const json_t *json, char *why, size_t size)
{
	const json_t *v = json_object_get(json, "profile");

	memset(c, 0, sizeof(*c));
	if (json_is_object(v))
		json = v;
	if (!json_is_object(json)) {
		snprintf(why, size, "it is not a JSON object");
		return -EINVAL;
	}
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		double ns;

		v = json_object_get(json, fields[i].name);
		if (!v)
			continue;
		ns = json_number_value(v);
		if (!json_is_number(v) || !isfinite(ns) || fabs(ns) > 1e9) {
			snprintf(why, size, "%s is not a number of nanoseconds", fields[i].name);
			return -EINVAL;
		}
		*field_of(c, &fields[i]) = ns;
	}
	c->uring = json_is_true(json_object_get(json, "uring"));
	if (!(c->crossing > 0)) {
		snprintf(why, size, "it has no crossing_ns greater than 0");
		return -EINVAL;
	}
	return 0;
}

int profile_load(struct cost *c, const char *path, char *why, size_t size)
{
	json_error_t error;
	json_t *json;
	int ret;
	FILE *f;

	f = fopen(path, "re");
	if (!f) {
		ret = -errno;
		snprintf(why, size, "%s", strerror(-ret));
		return ret;
	}
	json = json_loadf(f, 0, &error);
	fclose(f);
	if (!json) {
		snprintf(why, size, "line %d: %s", error.line, error.text);
		return -EINVAL;
	}
	ret = profile_from_json(c, json, why, size);
	json_decref(json);
	return ret;
}

int profile_save(const struct cost *c, const char *path)
{
	json_t *json = profile_to_json(c);
	int ret = json ? output_json(json, path) : -ENOMEM;

	json_decref(json);
	return ret;
}

/* SPDX-License-Identifier: MIT */
/* fuzz-profile.c - any bytes as the JSON of a cost profile. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include <cli/profile.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *json = json_loadb((const char *)data, size, JSON_DECODE_ANY, NULL);
	struct cost c = {0};
	char why[128] = "";

	if (!json)
		return 0;
	if (profile_from_json(&c, json, why, sizeof(why)) && !*why)
		abort();
	json_decref(json);
	return 0;
}

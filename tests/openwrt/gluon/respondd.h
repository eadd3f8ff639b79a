/* What a provider sees of respondd: the interface that its README describes, written down anew for the test. */

#ifndef RESPONDD_H
#define RESPONDD_H

struct json_object;

struct respondd_provider_info {
	const char *request;
	struct json_object *(*const provider)(void);
};

extern const struct respondd_provider_info respondd_providers[];

#endif

/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Tells respondd what qpq writes for the network map (node/qpq/daemon/published.py): its version, how many neighbours
 * it has and how much it carries for others. What else stands in the file is not passed on.
 *
 * respondd throws away what all providers said when one of them returns NULL, so these return an empty object where
 * there is nothing to say.
 */

#include <respondd.h>

#include <json-c/json.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef QPQ_FILE
#define QPQ_FILE "/var/run/qpq/respondd.json"
#endif

#define MAX_BYTES 1024
#define MAX_DEPTH 4
#define MAX_AGE 900 /* seconds; the node writes the file anew every 300 */
#define MAX_VERSION 32
#define MAX_NUMBER INT32_MAX

#define EXPORT __attribute__((visibility("default")))


/* Reads the whole file, without following a link or waiting at a pipe; returns its length or -1. */
static ssize_t read_fresh(char *buffer, size_t size) {
	int fd = open(QPQ_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -1;

	struct stat st;
	time_t now = time(NULL);
	ssize_t length = -1;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > (off_t)size)
		goto out;
	if (st.st_mtime < now - MAX_AGE || st.st_mtime > now + MAX_AGE)
		goto out;

	length = 0;
	while ((size_t)length < size) {
		ssize_t part = read(fd, buffer + length, size - length);
		if (part < 0 && errno == EINTR)
			continue;
		if (part < 0)
			length = -1;
		if (part <= 0)
			break;
		length += part;
	}

out:
	close(fd);
	return length;
}

/* Returns what the node wrote, an object, or NULL. */
static struct json_object * load(void) {
	char buffer[MAX_BYTES + 1];
	ssize_t length = read_fresh(buffer, sizeof(buffer));
	if (length <= 0 || length > MAX_BYTES)
		return NULL;

	struct json_tokener *tokener = json_tokener_new_ex(MAX_DEPTH);
	if (!tokener)
		return NULL;

	struct json_object *document = json_tokener_parse_ex(tokener, buffer, (int)length);
	bool whole = json_tokener_get_error(tokener) == json_tokener_success;
	for (size_t end = json_tokener_get_parse_end(tokener); whole && end < (size_t)length; end++)
		whole = isspace((unsigned char)buffer[end]);
	json_tokener_free(tokener);

	if (whole && json_object_is_type(document, json_type_object))
		return document;

	json_object_put(document);
	return NULL;
}

static void add_number(struct json_object *to, struct json_object *from, const char *key) {
	struct json_object *found;
	if (!json_object_object_get_ex(from, key, &found) || !json_object_is_type(found, json_type_int))
		return;

	int64_t number = json_object_get_int64(found);
	if (number >= 0 && number <= MAX_NUMBER)
		json_object_object_add(to, key, json_object_new_int64(number));
}

static void add_version(struct json_object *to, struct json_object *from) {
	struct json_object *found;
	if (!json_object_object_get_ex(from, "version", &found) || !json_object_is_type(found, json_type_string))
		return;

	const char *version = json_object_get_string(found);
	size_t length = strlen(version);
	if (!length || length > MAX_VERSION || length != (size_t)json_object_get_string_len(found))
		return;
	for (size_t i = 0; i < length; i++) {
		unsigned char character = version[i];
		if (!isascii(character) || (!isalnum(character) && !strchr(".+~_-", character)))
			return;
	}

	json_object_object_add(to, "version", json_object_new_string(version));
}

static struct json_object * respondd_provider_nodeinfo(void) {
	struct json_object *ret = json_object_new_object();
	struct json_object *document = load();
	if (!document)
		return ret;

	struct json_object *software = json_object_new_object();
	struct json_object *qpq = json_object_new_object();
	add_version(qpq, document);
	json_object_object_add(software, "qpq", qpq);
	json_object_object_add(ret, "software", software);
	json_object_put(document);

	return ret;
}

static struct json_object * respondd_provider_statistics(void) {
	struct json_object *ret = json_object_new_object();
	struct json_object *document = load();
	if (!document)
		return ret;

	struct json_object *qpq = json_object_new_object();
	add_number(qpq, document, "peers");
	add_number(qpq, document, "relayed");
	add_number(qpq, document, "relayed_bytes");
	json_object_object_add(ret, "qpq", qpq);
	json_object_put(document);

	return ret;
}

EXPORT const struct respondd_provider_info respondd_providers[] = {
	{"nodeinfo", respondd_provider_nodeinfo},
	{"statistics", respondd_provider_statistics},
	{0}
};

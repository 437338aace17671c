#pragma once
/*
 * docker_auth - credentials for a registry, as `docker login` left them
 *
 * Read from config.json in DOCKER_CONFIG or ~/.docker at each pull: plain entries and credential
 * helpers (docker-credential-NAME).
 */
struct error;

/**
 * docker_auth_header() - "X-Registry-Auth: …" for the registry of an image
 * @folder: where config.json lies; NULL: DOCKER_CONFIG or ~/.docker
 * @ret: on the heap, or NULL when there are no credentials for it
 */
int docker_auth_header(char **ret, const char *image, const char *folder, struct error *err);
/** docker_auth_registry() - the registry that an image's name means, as config.json writes it; on
 *  the heap */
char *docker_auth_registry(const char *image);

#pragma once
/*
 * curl - libcurl, loaded when it is first needed
 *
 * The library and the thirty others that it brings cost about 6 MiB, which a server that speaks
 * neither to Docker nor to a mail server does without. So nothing links it: curl_load() opens it
 * and fills a table of the functions that are used here. Loading twice gives the same library.
 */
#include <curl/curl.h>

struct error;

/** struct curl - the functions; it holds no state, so it may be copied and shared by threads */
struct curl {
        CURL *(*easy_init)(void);
        void (*easy_cleanup)(CURL *easy);
        void (*easy_reset)(CURL *easy);
        CURLcode (*easy_setopt)(CURL *easy, CURLoption option, ...);
        CURLcode (*easy_getinfo)(CURL *easy, CURLINFO info, ...);
        CURLcode (*easy_perform)(CURL *easy);
        CURLcode (*easy_pause)(CURL *easy, int bits);
        const char *(*easy_strerror)(CURLcode code);
        struct curl_slist *(*slist_append)(struct curl_slist *list, const char *text);
        void (*slist_free_all)(struct curl_slist *list);
        CURLM *(*multi_init)(void);
        CURLMcode (*multi_cleanup)(CURLM *multi);
        CURLMcode (*multi_add_handle)(CURLM *multi, CURL *easy);
        CURLMcode (*multi_remove_handle)(CURLM *multi, CURL *easy);
        CURLMcode (*multi_perform)(CURLM *multi, int *running);
        CURLMcode (*multi_poll)(CURLM *multi, struct curl_waitfd *extra, unsigned n, int timeout_ms,
                                int *ret_n);
        CURLMsg *(*multi_info_read)(CURLM *multi, int *left);
        CURLMcode (*multi_setopt)(CURLM *multi, CURLMoption option, ...);
        const char *(*multi_strerror)(CURLMcode code);
};

/**
 * curl_load() - open libcurl and look its functions up
 *
 * Return: 0, or -ERROR_UNAVAILABLE with the package to install.
 */
int curl_load(struct curl *ret, struct error *err);

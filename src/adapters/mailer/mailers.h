#pragma once
/*
 * mailers - the adapters of the port mailer
 *
 * outbox: "outbox" or "outbox:DIR": a folder of .eml files; the context is the data folder (a text)
 * none: "none": every mail is dropped, and the detail says so
 * smtp: "smtp://[user:pass@]host[:port][?tls=required|never]" with STARTTLS when the server offers
 * it, and "smtps://…"; user and password are percent-decoded and never shown
 */
struct error;
struct mailer;

int mailer_open_outbox(struct mailer **ret, const char *url, void *context, struct error *err);
int mailer_open_none(struct mailer **ret, const char *url, void *context, struct error *err);
/** mailer_open_smtp() - for the schemes smtp and smtps; @context: path of a file with the
 *  certificates to trust, or NULL: the system's */
int mailer_open_smtp(struct mailer **ret, const char *url, void *context, struct error *err);

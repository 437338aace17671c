#!/bin/sh
# The main job on real input: a git repository with a small C program, a server, a signed push, the
# live log, the mail. Everything lies in one temporary folder and is gone afterwards, but the mail.
#
#   tools/demo.sh ARGON [ENGINE]
#
# ENGINE is local unless given: the jobs compile with this machine's own gcc and make, which need no
# image and no registry. `tools/demo.sh build/src/argon docker` uses the image gcc:12.
set -eu

argon=$(realpath "${1:?usage: tools/demo.sh ARGON [ENGINE]}")
engine=${2:-local}
work=$(mktemp -d "${TMPDIR:-/tmp}/argon-demo.XXXXXX")
chmod 755 "$work"
kept=$(dirname "$argon")/demo-mail.eml
server=

say() { printf '\n== %s\n' "$*"; }

finish() {
        status=$?
        if [ -n "$server" ]; then
                kill "$server" 2>/dev/null || true
                wait "$server" 2>/dev/null || true
        fi
        [ $status = 0 ] || { echo "demo failed; the server said:"; tail -n 20 "$work/server.log"; }
        rm -rf "$work"
        exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM

say "a repository with a real program, its test and a .runnerci.yml of three jobs"
mkdir "$work/repository"
cd "$work/repository"
cat >words.c <<'C'
#include <ctype.h>
#include <stdio.h>

int main(void)
{
        int words = 0, inside = 0, c;

        while ((c = getchar()) != EOF) {
                if (!isspace(c) && !inside)
                        words++;
                inside = !isspace(c);
        }
        printf("%d\n", words);
        return 0;
}
C
cat >Makefile <<'M'
words: words.c
	$(CC) -O2 -Wall -Werror -o $@ $<
test: words
	test "$$(echo a small real program | ./words)" = 4
	@echo "the test passed"
M
cat >.runnerci.yml <<'Y'
version: 1.0
name: words
defaults:
  image: gcc:12
jobs:
  build:
    steps:
      - name: Compile
        run: make words
      - name: Test
        run: make test
  style:
    steps:
      - name: No tabs in C
        run: |
          ! grep -nP '\t' *.c
          echo "no tabs"
  report:
    needs: [build, style]
    steps:
      - name: Count
        run: |
          make words
          echo "words.c has $(./words < words.c) words"
Y
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
git init -q -b main .
git add -A
git -c user.name='Ada Example' -c user.email=ada@example.org commit -qm 'Count words'
commit=$(git rev-parse HEAD)
cat .runnerci.yml

say "argon up --engine $engine"
export ARGON_DATA="$work/data" ARGON_GIT_ALLOW=file ARGON_WEBHOOK_SECRET=demo-secret
export ARGON_MAIL=outbox ARGON_MAIL_POLICY=always
"$argon" up --listen 127.0.0.1:0 --engine "$engine" >"$work/server.log" 2>&1 &
server=$!
tries=0
until grep -q 'listening on' "$work/server.log"; do
        tries=$((tries + 1))
        if [ $tries -gt 150 ] || ! kill -0 $server 2>/dev/null; then
                exit 1
        fi
        sleep 0.1
done
url=http://$(cat "$work/data/listen")
echo "listening on $url"
grep -o 'engine [^"]*' "$work/server.log" | head -n 1 || true
if [ "$engine" = local ]; then
        echo "engine local, because these jobs need only the compiler that built Argon"
fi

say "GitHub pushes: a signed payload to $url/webhook"
cat >"$work/push.json" <<J
{"ref":"refs/heads/main","before":"0000000000000000000000000000000000000000","after":"$commit",
"created":false,"deleted":false,"forced":false,
"repository":{"id":1,"name":"words","full_name":"demo/words","private":false,"fork":false,
"clone_url":"file://$work/repository","default_branch":"main","language":"C"},
"pusher":{"name":"ada","email":"ada@example.org"},"sender":{"login":"ada"},
"head_commit":{"id":"$commit","message":"Count words","timestamp":"2026-01-01T12:00:00Z",
"author":{"name":"Ada Example","email":"ada@example.org"},
"committer":{"name":"Ada Example","email":"ada@example.org"}},"commits":[]}
J
signature=$(openssl dgst -sha256 -hmac demo-secret -r "$work/push.json" | cut -d' ' -f1)
curl -sS --fail-with-body -X POST "$url/webhook" -H 'Content-Type: application/json' \
        -H "X-GitHub-Event: push" -H "X-GitHub-Delivery: demo-$(date +%s)" \
        -H "X-Hub-Signature-256: sha256=$signature" --data-binary "@$work/push.json"
echo

say "the live log"
tries=0
until [ "$("$argon" builds --plain 2>/dev/null | wc -l)" -gt 0 ]; do
        tries=$((tries + 1))
        [ $tries -le 150 ] || { echo "no build appeared"; exit 1; }
        sleep 0.1
done
result=0
"$argon" logs -f 1 || result=$?
"$argon" watch 1 || result=$?

say "the mail"
tries=0
until mail=$(find "$work/data" -name '*.eml' | grep .); do
        tries=$((tries + 1))
        [ $tries -le 100 ] || { echo "no mail appeared"; exit 1; }
        sleep 0.1
done
sed -n '/^Subject:/p; /^To:/p' "$mail"
cp "$mail" "$kept"
echo "it lies in $kept"

say "result"
"$argon" status 1
exit $result

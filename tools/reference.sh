#!/bin/sh
# Writes the generated pages of docs/reference/ from the program's own tables.
#
#   tools/reference.sh ARGON [FOLDER]
set -eu

argon=${1:?usage: tools/reference.sh ARGON [FOLDER]}
folder=${2:-$(dirname "$0")/../docs/reference}

page() {
        printf '# %s\n\nGenerated from the table that the program itself uses (`argon help %s`).\n\n' \
                "$2" "$3"
        printf '```text\n'
        "$argon" help "$3"
        printf '```\n'
}

page settings "Settings" environment >"$folder/settings.md"
page exit-codes "Exit codes" exit-codes >"$folder/exit-codes.md"

{
        printf '# Commands\n\nGenerated from the table that the program itself uses (`argon COMMAND --help`).\n'
        for name in $("$argon" help | sed -n '/^Topics/q; s/^  \([a-z][a-z]*\) .*/\1/p'); do
                printf '\n## argon %s\n\n```text\n' "$name"
                "$argon" "$name" --help
                printf '```\n'
        done
} >"$folder/commands.md"

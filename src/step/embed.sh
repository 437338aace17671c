#!/bin/sh
# Writes assembler that contains a file: embed.sh FILE OUTPUT. The hash in the output is read by
# step_install() and makes the assembler run again whenever the file changes.
set -eu
file=$(realpath "$1")
hash=$(sha256sum "$file" | cut -d' ' -f1)
cat >"$2" <<END
        .section .rodata
        .global step_image_bytes
        .global step_image_end
        .global step_image_sha256
        .balign 16
step_image_bytes:
        .incbin "$file"
step_image_end:
        .byte 0
step_image_sha256:
        .asciz "$hash"
        .section .note.GNU-stack,"",@progbits
END

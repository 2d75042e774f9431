# `make up` builds the binary, static, and then this image of nothing else.
FROM scratch
COPY bin/linux/tallystick /bin/tallystick
ENTRYPOINT ["/bin/tallystick"]

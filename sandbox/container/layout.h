// Numbers shared by the init programs and image.go; a test compares them.
#define DATA_BASE	0x10000000
#define HEADER_SIZE	64
#define STEP_SIZE	64

#define HEADER_KIND	0
#define HEADER_VALUE	8
#define HEADER_STATUS	16

#define MODE_OPTIONAL	1
#define MODE_FORK	2
#define MODE_DATA	3

#define MESSAGE_SIZE	16
#define MESSAGE_STARTED	1
#define MESSAGE_EXITED	2

#define STATUS_FD	3

// The end mark: "kilnend" and a zero.
#define END_LOW	0x6e6c696b
#define END_HIGH	0x00646e65

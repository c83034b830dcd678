/* System calls by doors that a 64-bit program has no business with: the 32-bit gate and the x32 numbers. */
#include <string.h>

int main(int count, char **words) {
    long result = -1;
    if (count == 2 && strcmp(words[1], "int80") == 0)
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory", "r8", "r9", "r10", "r11");
    if (count == 2 && strcmp(words[1], "x32") == 0)
        __asm__ volatile("syscall" : "=a"(result) : "a"(0x40000000 | 39) : "memory", "rcx", "r11");
    return result > 0 ? 42 : 43;
}

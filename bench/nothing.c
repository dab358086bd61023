/* A launcher that does nothing: what a second exec costs at the least, whatever the first program is. */
#include <unistd.h>

int main(int argc, char **argv, char **envp)
{
    if (argc > 1)
        execve(argv[1], argv + 1, envp);
    return 127;
}

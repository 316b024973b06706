"""A serial port as a transport."""

import contextlib
import time

from ..errors import InputError
from .link import LinkError

__all__ = ["SerialTransport"]

MOST = 65536


class SerialTransport:
    """Bytes over a serial port, 8N1; see `link.Link`.

    Raises
    ------
    InputError
        pyserial is missing, or the port cannot be opened: the message says why.
    """

    def __init__(self, port, baud):
        try:
            import serial
        except ImportError:
            raise InputError("--port needs pyserial: pip install 'rowcast[fpga]' (or pip install pyserial)") from None
        self.name, self.baud = str(port), baud
        try:
            self._port = serial.Serial(port=str(port), baudrate=baud, timeout=0, exclusive=True)
        except ValueError as error:
            raise InputError(f"{port}: {error}") from None
        except serial.SerialException as error:
            raise InputError(f"{_reason(port, error)}{_others(port)}") from None
        self._error = serial.SerialException
        # USB adapters of one maker keep bytes for 16 ms otherwise; not every port can be told so.
        with contextlib.suppress(Exception):
            self._port.set_low_latency_mode(True)
        self._port.reset_input_buffer()

    def write(self, data):
        """Send; returns when the bytes are on their way."""
        with self._plugged():
            self._port.write(data)

    def read(self, seconds):
        """What has come, at least a byte unless the time passes."""
        with self._plugged():
            self._port.timeout = seconds
            data = self._port.read(1)
            self._port.timeout = 0
            return data + self._port.read(MOST) if data else b""

    def now(self):
        """Seconds."""
        return time.monotonic()

    def sleep(self, seconds):
        """Wait."""
        time.sleep(seconds)

    def close(self):
        """Close the port."""
        self._port.close()

    @contextlib.contextmanager
    def _plugged(self):
        try:
            yield
        except (self._error, OSError) as error:
            raise LinkError(f"{self.name}: the port is gone: {error}") from None


def _reason(port, error):
    text = {
        2: "there is no such port", 13: "no permission (on Linux: be in the group dialout)", 16: "another program uses it",
    }  # fmt: skip
    return f"{port}: {text.get(error.errno, 'cannot be opened: ' + str(error))}"


def _others(port):
    from serial.tools.list_ports import comports

    names = [other.device for other in comports() if other.device != str(port)]
    return f"; ports are: {', '.join(names)}" if names else "; no serial ports were found"
